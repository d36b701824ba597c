use super::super::file;
use super::super::manifest::{Aggregation, Workload};
use super::{BadManifest, Wrong, check, check_public, parameters, templates};

fn workload() -> Workload {
    let text = "name = \"x\"
        [[egress]]
        host = \"e.org\"
        [[source]]
        name = \"a\"
        kind = \"http\"
        url = \"https://e.org/{b}/{a}\"
        headers = { accept = \"{c}\" }";
    let manifest = file::parse(text).unwrap_or_else(|bad| panic!("{bad}"));
    Workload { version: 1, module: [0; 32].into(), profile: [0; 32].into(), manifest }
}

fn wrong(change: impl FnOnce(&mut Workload)) -> BadManifest {
    let mut workload = workload();
    change(&mut workload);
    check(&workload).expect_err("it was changed for the worse")
}

#[test]
fn nodes_check_what_no_file_can_say() {
    assert_eq!(check(&workload()), Ok(()));
    let version = wrong(|workload| workload.version = 2);
    assert_eq!((version.field.as_str(), version.wrong), ("version", Wrong::Version { got: 2 }));
    let fuel = wrong(|workload| workload.manifest.limits.fuel = u64::MAX);
    assert_eq!(fuel.field, "limits.fuel");
    let egress = wrong(|workload| workload.manifest.egress = session_core::List::new([]).unwrap());
    assert!(matches!(egress.wrong, Wrong::NotInEgress { port: 443, .. }), "{egress}");
    let single = wrong(|workload| {
        let mut source = workload.manifest.sources[0].clone();
        source.aggregation = Aggregation::Single;
        workload.manifest.sources = session_core::List::new([source]).unwrap();
    });
    assert_eq!(single.field, "source[0].aggregation");
}

#[test]
fn a_record_may_name_private_hosts_for_operators_to_judge() {
    let mut workload = workload();
    let mut egress = workload.manifest.egress[0].clone();
    egress.host = session_core::Text::new("10.0.0.1").unwrap();
    workload.manifest.egress =
        session_core::List::new([workload.manifest.egress[0].clone(), egress]).unwrap();
    assert_eq!(check(&workload), Ok(()));
    let bad = check_public(&workload.manifest).unwrap_err();
    assert_eq!(bad.field, "egress[1].host");
}

#[test]
fn parameters_come_from_all_templates() {
    let workload = workload();
    let connector = &workload.manifest.sources[0].connector;
    assert_eq!(templates(connector).len(), 2);
    let names: Vec<&str> = parameters(connector).unwrap().into_iter().collect();
    assert_eq!(names, ["a", "b", "c"]);
}
