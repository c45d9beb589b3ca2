#[test]
fn works() {}

#[test]
fn fails_too() {
    panic!("twice");
}
