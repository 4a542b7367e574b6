//! Tests that need what not every machine has.

/// Call this in a test that cannot run here, before it returns: it prints the reason. Under CI (the environment variable `CI` is `true`)
/// it panics instead, because there every test has to run.
#[expect(clippy::print_stdout, reason = "who runs the tests has to see it")]
pub fn cannot_run(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{why}; under CI that is a failure");
    println!("SKIPPED: {why}");
}
