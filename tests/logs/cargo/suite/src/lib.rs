//! Tests of every outcome.

/// Adds.
///
/// ```
/// assert_eq!(suite::add(1, 1), 2);
/// ```
///
/// ```should_panic
/// assert_eq!(suite::add(1, 2), 2);
/// ```
///
/// ```no_run
/// loop { suite::add(1, 2); }
/// ```
pub fn add(a: i32, b: i32) -> i32 {
    a + b
}

#[cfg(test)]
mod tests {
    use super::add;

    #[test]
    fn adds() {
        assert_eq!(add(1, 1), 2);
    }

    #[test]
    fn fails() {
        assert_eq!(add(1, 2), 4);
    }

    #[test]
    #[ignore]
    fn ignored() {}

    #[test]
    #[ignore = "too ... slow"]
    fn ignored_with_reason() {}

    #[test]
    #[should_panic(expected = "boom")]
    fn panics_as_it_must() {
        panic!("boom");
    }

    #[test]
    #[should_panic]
    fn does_not_panic() {}

    #[test]
    fn prints() {
        print!("no newline at the end");
        println!("\ntest tests::printed ... and not a result");
        eprintln!("stderr too");
    }

    mod nested {
        #[test]
        fn works() {}

        #[test]
        fn ünïcode() -> Result<(), String> {
            Err("an error".into())
        }
    }
}
