//! The rules of the gate, one test each. What is refused must not even connect: the servers count.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use session_connectors::Resolver;
use session_protocol::workload::manifest::HttpMethod;
use session_protocol::workload::oracle::Fault;

use crate::ask::{Ask, Names, node, node_for, node_with};
use crate::server::{Server, ok, redirect};

/// A server on 127.0.0.1 that must not be asked.
async fn victim() -> Server {
    Server::start(|_| ok("internal")).await
}

/// Asks for `url` with `host` on the list; it must be denied, and nobody connect to the victim.
async fn denied(url: &str, host: &str, victim: &Server) {
    let port = victim.port();
    let ask = Ask::get(url).egress(host, port, true);
    assert_eq!(ask.to(&node("")).await, Err(Fault::Denied), "{url}");
    assert_eq!(victim.connections(), 0, "{url}");
}

#[tokio::test]
async fn https_only_unless_the_egress_list_says_plain() {
    let server = victim().await;
    let port = server.port();
    let url = format!("http://api.test:{port}/");
    let strict = Ask::get(&url).egress("api.test", port, false);
    assert_eq!(strict.to(&node_for(port)).await, Err(Fault::Denied));
    assert_eq!(server.connections(), 0);
    let plain = Ask::get(&url).egress("api.test", port, true);
    assert_eq!(plain.to(&node_for(port)).await.unwrap().body, b"internal");
}

#[tokio::test]
async fn only_listed_hosts_and_ports() {
    let server = victim().await;
    let port = server.port();
    let url = format!("http://api.test:{port}/");
    let lists = [("other.test", port), ("api.test", port ^ 1), ("test", port), ("*.test", port)];
    for (host, listed) in lists {
        let ask = Ask::get(&url).egress(host, listed, true);
        assert_eq!(ask.to(&node_for(port)).await, Err(Fault::Denied), "{host}:{listed}");
    }
    assert_eq!(Ask::get(&url).to(&node_for(port)).await, Err(Fault::Denied), "an empty list");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn loopback_is_denied() {
    let server = victim().await;
    let port = server.port();
    denied(&format!("http://127.0.0.1:{port}/"), "127.0.0.1", &server).await;
    denied(&format!("http://127.8.8.8:{port}/"), "127.8.8.8", &server).await;
    denied(&format!("http://localhost:{port}/"), "localhost", &server).await;
    denied(&format!("http://[::1]:{port}/"), "::1", &server).await;
}

#[tokio::test]
async fn unspecified_is_denied() {
    // Connecting to it reaches this machine.
    let server = victim().await;
    let port = server.port();
    denied(&format!("http://0.0.0.0:{port}/"), "0.0.0.0", &server).await;
    denied(&format!("http://[::]:{port}/"), "::", &server).await;
}

#[tokio::test]
async fn odd_spellings_of_addresses_are_denied() {
    let server = victim().await;
    let port = server.port();
    let spellings = [
        "2130706433",
        "0x7f000001",
        "0x7F.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "00127.0.0.1",
        "0",
        "0x",
        "①②⑦.0.0.1",
        "127.0.0.1%00",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[::1%25lo]",
        "user@127.0.0.1",
        "api.test@127.0.0.1",
        "127.0.0.1#",
        "127。0。0。1",
        "127.0.0.1\\",
        "%31%32%37.0.0.1",
        "[127.0.0.1]",
    ];
    for spelling in spellings {
        // Listed both ways: the spelling itself must not slip through.
        let host = spelling.trim_matches(['[', ']']).to_lowercase();
        let ask = Ask::get(format!("http://{spelling}:{port}/")).egress(&host, port, true).egress(
            "127.0.0.1",
            port,
            true,
        );
        assert_eq!(ask.to(&node("")).await, Err(Fault::Denied), "{spelling}");
    }
    assert_eq!(server.connections(), 0);
}

/// Resolves a name to `addresses`; it must be denied although the name is listed.
async fn name_denied(addresses: &str) {
    let names = Names::default().answer("api.test", addresses);
    let ask = Ask::get("https://api.test/").egress("api.test", 443, false);
    let node = node("").with_resolver(Arc::new(names));
    assert_eq!(ask.to(&node).await, Err(Fault::Denied), "{addresses}");
}

#[tokio::test]
async fn metadata_of_clouds_is_denied() {
    for address in [
        "169.254.169.254",
        "169.254.170.2",
        "fe80::a9fe:a9fe",
        "fd00:ec2::254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
    ] {
        name_denied(address).await;
    }
}

#[tokio::test]
async fn private_networks_are_denied() {
    for address in [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "fec0::1",
    ] {
        name_denied(address).await;
    }
}

#[tokio::test]
async fn ranges_without_public_hosts_are_denied() {
    for address in [
        "0.1.2.3",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "100::1",
        "2001:db8::1",
        "3fff::1",
        "2001:2::1",
        "2001:10::1",
        "5f00::1",
        "ff02::1",
        "4000::1",
    ] {
        name_denied(address).await;
    }
}

#[tokio::test]
async fn ipv4_mapped_and_compatible_are_denied() {
    for address in [
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:0:127.0.0.1",
    ] {
        name_denied(address).await;
    }
}

#[tokio::test]
async fn nat64_is_denied() {
    for address in ["64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::7f00:1"] {
        name_denied(address).await;
    }
}

#[tokio::test]
async fn tunnels_are_denied() {
    // 6to4 of 127.0.0.1 and of 8.8.8.8; Teredo.
    for address in ["2002:7f00:1::", "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"] {
        name_denied(address).await;
    }
}

#[tokio::test]
async fn one_bad_address_among_good_ones_denies_the_name() {
    let server = victim().await;
    let port = server.port();
    let names = Names::default().answer("api.test", "127.0.0.1 169.254.169.254");
    let node = node_with(&[&format!("api.test:{port}")]).with_resolver(Arc::new(names));
    let ask = Ask::get(format!("http://api.test:{port}/")).egress("api.test", port, true);
    assert_eq!(ask.to(&node).await, Err(Fault::Denied));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_pinned_to_the_checked_address() {
    // Both are servers; the name points to the second as soon as it was asked once.
    let first = Server::start(|_| ok("first")).await;
    let port = first.port();
    let second = Server::start_at(([127, 0, 0, 2], port).into(), |_| ok("second")).await;
    let names =
        Arc::new(Names::default().answer("api.test", "127.0.0.1").answer("api.test", "127.0.0.2"));
    let resolver: Arc<dyn Resolver> = names.clone();
    let node = node_with(&[&format!("api.test:{port}")]).with_resolver(resolver);
    let ask = Ask::get(format!("http://api.test:{port}/")).egress("api.test", port, true);
    assert_eq!(ask.to(&node).await.unwrap().body, b"first");
    assert_eq!(names.asked(), ["api.test"], "resolved once");
    assert_eq!((first.connections(), second.connections()), (1, 0));
}

#[tokio::test]
async fn each_redirect_goes_through_the_whole_gate() {
    // The redirect leads to the same name, which by then is the metadata service.
    let server = Server::start(|_| redirect("/again")).await;
    let port = server.port();
    let names =
        Names::default().answer("api.test", "127.0.0.1").answer("api.test", "169.254.169.254");
    let node = node_with(&[&format!("api.test:{port}")]).with_resolver(Arc::new(names));
    let url = format!("http://api.test:{port}/");
    let ask = Ask::get(url).redirects(3).egress("api.test", port, true);
    assert_eq!(ask.to(&node).await, Err(Fault::Denied));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn redirects_to_metadata_are_denied() {
    for location in [
        "http://169.254.169.254/latest/meta-data/",
        "//169.254.169.254/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://internal.test/",
    ] {
        let server = Server::start(move |_| redirect(location)).await;
        let port = server.port();
        let names = Names::default()
            .answer("api.test", "127.0.0.1")
            .answer("internal.test", "169.254.169.254");
        let node = node_with(&[&format!("api.test:{port}")]).with_resolver(Arc::new(names));
        let ask = Ask::get(format!("http://api.test:{port}/"))
            .redirects(3)
            .egress("api.test", port, true)
            .egress("169.254.169.254", 80, true)
            .egress("internal.test", 80, true);
        assert_eq!(ask.to(&node).await, Err(Fault::Denied), "{location}");
    }
}

#[tokio::test]
async fn redirects_to_hosts_that_are_not_listed_are_denied() {
    let other = victim().await;
    let location = format!("http://other.test:{}/", other.port());
    let server = Server::start(move |_| redirect(&location)).await;
    let (port, other_port) = (server.port(), other.port());
    let names = Names::default().answer("api.test", "127.0.0.1").answer("other.test", "127.0.0.1");
    let opened = [&*format!("api.test:{port}"), &format!("other.test:{other_port}")];
    let node = node_with(&opened).with_resolver(Arc::new(names));
    let ask =
        Ask::get(format!("http://api.test:{port}/")).redirects(1).egress("api.test", port, true);
    assert_eq!(ask.to(&node).await, Err(Fault::Denied));
    assert_eq!(other.connections(), 0);
    let listed = ask.egress("other.test", other_port, true);
    assert_eq!(listed.to(&node).await.unwrap().body, b"internal");
}

#[tokio::test]
async fn no_redirect_is_followed_unless_the_source_says_so() {
    let server = Server::start(|_| redirect("/again")).await;
    let port = server.port();
    let ask = Ask::get(format!("http://api.test:{port}/")).egress("api.test", port, true);
    assert_eq!(ask.to(&node_for(port)).await.unwrap().status, 302);
    assert_eq!(server.seen().len(), 1);
    // And no more than it says.
    let ask = ask.redirects(2);
    assert_eq!(ask.to(&node_for(port)).await.unwrap().status, 302);
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn redirects_of_writes_are_not_followed() {
    let server = Server::start(|_| redirect("/again")).await;
    let port = server.port();
    let url = format!("http://api.test:{port}/");
    let ask = Ask::post(url, b"pay").redirects(3).egress("api.test", port, true);
    assert_eq!(ask.to(&node_for(port)).await.unwrap().status, 302);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn addresses_that_parsers_disagree_about_are_denied() {
    let server = victim().await;
    let port = server.port();
    for url in [
        format!("http://api.test:{port}\\@other.test/"),
        format!("http://user:word@api.test:{port}/"),
        format!("http://api.test:{port}/a/../b"),
        format!("http://api.test:{port}/a/%2e%2E/b"),
        format!("http://api.test:{port}/a%2f..%2fb"),
        format!("http://api.test:{port}/#part"),
        format!("http://api.test:{port}/a b"),
        format!("http://api.test:0{port}0/"),
        format!("http://api.test:+{port}/"),
        format!("ftp://api.test:{port}/"),
        "file:///etc/passwd".to_owned(),
        format!("//api.test:{port}/"),
    ] {
        let ask = Ask::get(&url).egress("api.test", port, true);
        assert_eq!(ask.to(&node_for(port)).await, Err(Fault::Denied), "{url}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_parameter_cannot_change_the_host() {
    let server = Server::start(|seen| ok(&seen.target)).await;
    let port = server.port();
    let ask = Ask::get(format!("http://api.test:{port}/v1/{{what}}?q={{what}}"))
        .egress("api.test", port, true)
        .with("what", "@169.254.169.254/?&#\\");
    let answer = ask.to(&node_for(port)).await.unwrap();
    let escaped = "%40169.254.169.254%2F%3F%26%23%5C";
    assert_eq!(answer.body, format!("/v1/{escaped}?q={escaped}").as_bytes());
}

#[tokio::test]
async fn the_nodes_own_listeners_are_denied_even_if_opened() {
    let server = victim().await;
    let port = server.port();
    let ask = Ask::get(format!("http://api.test:{port}/")).egress("api.test", port, true);
    for own in [([127, 0, 0, 1], port), ([0, 0, 0, 0], port)] {
        let node = node_for(port).with_own([own.into()]);
        assert_eq!(ask.to(&node).await, Err(Fault::Denied), "{own:?}");
    }
    assert_eq!(server.connections(), 0);
    let elsewhere = node_for(port).with_own([([127, 0, 0, 1], port ^ 1).into()]);
    assert!(ask.to(&elsewhere).await.is_ok());
}

#[tokio::test]
async fn opening_a_host_opens_neither_metadata_nor_other_ports() {
    let server = victim().await;
    let port = server.port();
    let names = Names::default().answer("api.test", "169.254.169.254");
    let node = node_with(&[&format!("api.test:{port}")]).with_resolver(Arc::new(names));
    let ask = Ask::get(format!("http://api.test:{port}/")).egress("api.test", port, true);
    assert_eq!(ask.to(&node).await, Err(Fault::Denied));
    let names = Names::default().answer("api.test", "127.0.0.1");
    let node = node_with(&[&format!("api.test:{}", port ^ 1)]).with_resolver(Arc::new(names));
    assert_eq!(ask.to(&node).await, Err(Fault::Denied));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn headers_that_servers_believe_cannot_be_set() {
    let server = victim().await;
    let port = server.port();
    for name in [
        "host",
        "transfer-encoding",
        "content-length",
        "connection",
        "authorization",
        "cookie",
        "proxy-authorization",
        "upgrade",
        "te",
        "expect",
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-real-ip",
        "x-http-method-override",
        "x-original-url",
        "x-amz-security-token",
        "x-aws-ec2-metadata-token",
        "metadata-flavor",
        "accept-encoding",
        "idempotency-key",
        "Accept",
        "x-a b",
        "",
    ] {
        let url = format!("http://api.test:{port}/");
        let ask = Ask::http(HttpMethod::Get, url, &[(name, "1")], 0).egress("api.test", port, true);
        assert_eq!(ask.to(&node_for(port)).await, Err(Fault::Denied), "{name}");
    }
    let url = format!("http://api.test:{port}/");
    let split = Ask::http(HttpMethod::Get, url, &[("accept", "a\r\nhost: b")], 0)
        .egress("api.test", port, true);
    assert_eq!(split.to(&node_for(port)).await, Err(Fault::Denied));
    assert_eq!(server.connections(), 0);
}

fn with_secret(port: u16, more: &str) -> String {
    format!(
        "allow_private = [\"api.test:{port}\"]\n[[secret]]\nhost = \"api.test\"\nport = {port}\n\
         header = \"authorization\"\nvalue = \"Bearer 1234\"\n{more}"
    )
}

fn loopback() -> Arc<Names> {
    Arc::new(Names::default().answer("api.test", "127.0.0.1").answer("other.test", "127.0.0.1"))
}

#[tokio::test]
async fn secrets_go_only_to_their_host() {
    let server = victim().await;
    let port = server.port();
    let config = with_secret(port, "").replace("[\"", &format!("[\"other.test:{port}\", \""));
    let node = node(&config).with_resolver(loopback());
    for host in ["api.test", "other.test"] {
        let ask = Ask::get(format!("http://{host}:{port}/")).egress(host, port, true);
        ask.to(&node).await.unwrap();
    }
    let seen = server.seen();
    assert_eq!(seen[0].header("authorization"), Some("Bearer 1234"));
    assert_eq!(seen[1].header("authorization"), None);
}

#[tokio::test]
async fn secrets_go_only_to_their_paths_and_to_writes_if_said() {
    let server = victim().await;
    let port = server.port();
    let node = node(&with_secret(port, "paths = [\"/v1/\"]")).with_resolver(loopback());
    let url = |path: &str| format!("http://api.test:{port}{path}");
    for ask in [Ask::get(url("/v1/a")), Ask::get(url("/v2/a")), Ask::post(url("/v1/a"), b"")] {
        ask.egress("api.test", port, true).to(&node).await.unwrap();
    }
    let sent =
        server.seen().iter().map(|seen| seen.header("authorization").is_some()).collect::<Vec<_>>();
    assert_eq!(sent, [true, false, false]);
    let node = crate::ask::node(&with_secret(port, "writes = true")).with_resolver(loopback());
    Ask::post(url("/v1/a"), b"").egress("api.test", port, true).to(&node).await.unwrap();
    assert!(server.seen()[3].header("authorization").is_some());
}

#[tokio::test]
async fn secrets_do_not_follow_redirects_to_other_hosts() {
    let other = victim().await;
    let location = format!("http://other.test:{}/", other.port());
    let server = Server::start(move |_| redirect(&location)).await;
    let (port, other_port) = (server.port(), other.port());
    // The second host has a secret of its own: what somebody else sends there must not have it.
    let second =
        format!("[[secret]]\nhost = \"other.test\"\nport = {other_port}\nvalue = \"Bearer 5678\"");
    let config =
        with_secret(port, &second).replace("[\"", &format!("[\"other.test:{other_port}\", \""));
    let node = node(&config).with_resolver(loopback());
    let url = format!("http://api.test:{port}/");
    let ask = Ask::http(HttpMethod::Get, url, &[("x-api", "1"), ("accept", "a/b")], 1)
        .egress("api.test", port, true)
        .egress("other.test", other_port, true);
    ask.to(&node).await.unwrap();
    assert!(server.seen()[0].header("authorization").is_some());
    let seen = &other.seen()[0];
    assert_eq!((seen.header("authorization"), seen.header("x-api")), (None, None));
    assert_eq!(seen.header("accept"), Some("a/b"));
}

#[tokio::test]
async fn proxies_in_the_environment_are_ignored() {
    const CHILD: &str = "LUX_TEST_IN_PROXY_ENVIRONMENT";
    if std::env::var_os(CHILD).is_some() {
        let server = victim().await;
        let port = server.port();
        let ask = Ask::get(format!("http://api.test:{port}/")).egress("api.test", port, true);
        assert_eq!(ask.to(&node_for(port)).await.unwrap().body, b"internal");
        return;
    }
    let proxy = Server::start(|_| ok("proxied")).await;
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "ssrf::proxies_in_the_environment_are_ignored"]).env(CHILD, "1");
    for variable in
        ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
    {
        child.env(variable, format!("http://{}", proxy.address));
    }
    let done = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn slow_names_count_towards_the_timeout() {
    struct Never;
    impl Resolver for Never {
        fn resolve<'a>(&'a self, _: &'a str) -> session_connectors::Resolving<'a> {
            Box::pin(std::future::pending())
        }
    }
    let node = node("").with_resolver(Arc::new(Never));
    let ask = Ask::get("https://api.test/").egress("api.test", 443, false).timeout_ms(50);
    let asked = tokio::time::timeout(Duration::from_secs(5), ask.to(&node)).await;
    assert_eq!(asked.unwrap(), Err(Fault::Timeout));
}
