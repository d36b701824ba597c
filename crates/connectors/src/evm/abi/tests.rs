use super::*;

fn words(words: &[&str]) -> Vec<u8> {
    hex::decode(words.iter().map(|word| format!("{word:0>64}")).collect::<String>()).unwrap()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn the_examples_of_the_specification() {
    // https://docs.soliditylang.org/en/latest/abi-spec.html#examples
    let baz = Function::parse("baz(uint32,bool)(bool)").unwrap();
    let data = baz.encode(&texts(&["69", "true"])).unwrap();
    assert_eq!(data, [&hex::decode("cdcd77c0").unwrap()[..], &words(&["45", "1"])].concat());
    let bar = Function::parse("bar(bytes3[2])(bool)").unwrap();
    let data = bar.encode(&texts(&["[0x616263, 0x646566]"])).unwrap();
    let left = |text: &str| format!("{text:0<64}");
    let expected = words(&[&left("616263"), &left("646566")]);
    assert_eq!(data, [&hex::decode("fce353f6").unwrap()[..], &expected].concat());
}

#[test]
fn results_have_one_form() {
    let function =
        Function::parse("f()(uint,int8,bool,address,bytes4,bytes,string,uint8[])").unwrap();
    let left = |text: &str| format!("{text:0<64}");
    let data = words(&[
        &"f".repeat(64),
        &"f".repeat(64),
        "1",
        "DeaDBeef",
        &left("01020304"),
        "100",
        "140",
        "180",
        "2",
        &left("beef"),
        "3",
        &left("616263"),
        "2",
        "7",
        "8",
    ]);
    let decoded = function.decode(&data).unwrap();
    let max = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    let address = format!("0x{}deadbeef", "0".repeat(32));
    assert_eq!(
        decoded,
        serde_json::json!([max, "-1", true, address, "0x01020304", "0xbeef", "abc", ["7", "8"]])
    );
}

#[test]
fn nested_values_are_lists() {
    let function = Function::parse("f()((uint256,bool)[],string)").unwrap();
    let text = format!("{:0<64}", "78");
    let data = words(&["40", "c0", "2", "1", "1", "2", "0", "1", &text]);
    // Two tuples of two words follow the count at 0x40; the text follows them at 0xe0.
    let data = [&data[..32], &words(&["e0"]), &data[64..]].concat();
    assert_eq!(
        function.decode(&data).unwrap(),
        serde_json::json!([[["1", true], ["2", false]], "x"])
    );
}

#[test]
fn types_that_unpack_to_any_size_are_refused() {
    for returns in [
        "string[]",
        "bytes[2]",
        "uint256[][]",
        "(string,uint8)[]",
        "uint8[0]",
        "uint8[4294967295]",
        "uint8[99][99]",
        "()[]",
        "uint8[2][0]",
    ] {
        let parsed = Function::parse(&format!("f()({returns})"));
        assert!(matches!(parsed, Err(BadAbi::Type | BadAbi::Function)), "{returns}: {parsed:?}");
    }
    for returns in
        ["uint8[3][]", "(uint8,bool)[]", "string,bytes", "uint8[32][32]", "(string,uint8)"]
    {
        assert!(Function::parse(&format!("f()({returns})")).is_ok(), "{returns}");
    }
}

#[test]
fn counts_that_lie_do_not_cost_memory() {
    let function = Function::parse("f()(uint256[])").unwrap();
    for count in ["ffffffffffffffff", &"f".repeat(64), "7fffffff"] {
        assert_eq!(function.decode(&words(&["20", count])), Err(BadAbi::Returned));
    }
    assert_eq!(function.decode(&vec![0; DATA_BYTES_MAX + 32]), Err(BadAbi::Returned));
}

#[test]
fn functions_that_are_none() {
    for text in [
        "",
        "f",
        "f()",
        "f()()",
        "(uint8)(bool)",
        "f(uint8(bool)",
        "f(uint8))(bool)",
        "f(uint8)(bool)x",
        "f uint8)(bool)",
        "f(uint7)(bool)",
        "f(é)(bool)",
        "f(,)(bool)",
    ] {
        assert!(Function::parse(text).is_err(), "{text}");
    }
}
