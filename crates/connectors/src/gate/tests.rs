use super::*;

struct Fixed(Vec<IpAddr>);

impl Resolver for Fixed {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

fn gate(addresses: Vec<IpAddr>) -> Gate {
    Gate::new(BTreeSet::new(), Arc::new(Fixed(addresses)))
}

async fn refusal(gate: &Gate, place: &str) -> Option<Denied> {
    match gate.resolve(&Place::parse(place).unwrap()).await {
        Err(NoWay::Denied(denied)) => Some(denied),
        _ => None,
    }
}

#[tokio::test]
async fn every_address_is_judged() {
    let public: IpAddr = [1, 1, 1, 1].into();
    let private: IpAddr = [10, 0, 0, 1].into();
    assert_eq!(refusal(&gate(vec![public]), "a.example:443").await, None);
    let mixed = refusal(&gate(vec![public, private]), "a.example:443").await;
    assert_eq!(mixed, Some(Denied::Special { address: private, why: Special::Private }));
    let many = vec![public; ADDRESSES_MAX + 1];
    assert_eq!(refusal(&gate(many), "a.example:443").await, Some(Denied::TooManyAddresses));
}

#[tokio::test]
async fn addresses_in_the_place_of_names_are_judged_too() {
    let address = [127, 0, 0, 1].into();
    let denied = refusal(&gate(vec![[1, 1, 1, 1].into()]), "127.0.0.1:80").await;
    assert_eq!(denied, Some(Denied::Special { address, why: Special::Loopback }));
}

#[tokio::test]
async fn own_public_listeners_are_denied() {
    let public: IpAddr = [1, 1, 1, 1].into();
    let mut gate = gate(vec![public]);
    gate.add_own([(public, 4000).into()]);
    let own = SocketAddr::from((public, 4000));
    assert_eq!(refusal(&gate, "a.example:4000").await, Some(Denied::Own(own)));
    assert_eq!(refusal(&gate, "a.example:443").await, None);
}

#[test]
fn loopback_is_this_machine() {
    assert!(is_this_machine([127, 0, 0, 1].into()));
    assert!(is_this_machine(Ipv6Addr::LOCALHOST.into()));
}
