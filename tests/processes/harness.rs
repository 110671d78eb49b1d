//! Runs tests one after another, with libtest's arguments and in its words, so that `cargo test` need not know.

use std::process::ExitCode;

/// A test, by the path of its function.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn(),
    /// Why it is left out unless it is asked for.
    pub(crate) ignored: Option<&'static str>,
}

/// The tests of a module, each by its name; `long` ones are left out unless they are asked for.
macro_rules! tests {
    ($module:literal: $($(#[$attribute:meta])* $name:ident $(long $why:literal)?),+ $(,)?) => {
        pub(crate) const TESTS: &[crate::harness::Test] = &[$($(#[$attribute])* crate::harness::Test {
            name: concat!($module, "::", stringify!($name)),
            run: $name,
            ignored: crate::harness::first(&[$(concat!("long: ", $why))?]),
        }),+];
    };
}
pub(crate) use tests;

pub(crate) const fn first(of: &[&'static str]) -> Option<&'static str> {
    if of.is_empty() { None } else { Some(of[0]) }
}

/// What the arguments ask for.
#[derive(Default)]
struct Asked<'a> {
    named: Vec<&'a str>,
    skipped: Vec<&'a str>,
    exact: bool,
    ignored_only: bool,
    ignored_too: bool,
    list: bool,
}

impl<'a> Asked<'a> {
    fn read(arguments: &'a [String]) -> Result<Self, String> {
        let mut asked = Self::default();
        let mut words = arguments.iter().flat_map(|argument| match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => vec![flag, value],
            _ => vec![argument.as_str()],
        });
        while let Some(word) = words.next() {
            match word {
                "--exact" => asked.exact = true,
                "--ignored" => asked.ignored_only = true,
                "--include-ignored" => asked.ignored_too = true,
                "--list" => asked.list = true,
                "--skip" => asked.skipped.push(words.next().ok_or("--skip needs a name")?),
                // Nothing is captured, nothing is coloured, and one thread is all there is.
                "--nocapture" | "--no-capture" | "--show-output" | "--quiet" | "-q" => {}
                "--test-threads" | "--color" | "--format" => drop(words.next()),
                flag if flag.starts_with('-') => return Err(format!("no such argument: {flag}")),
                name => asked.named.push(name),
            }
        }
        Ok(asked)
    }

    fn takes(&self, test: &Test) -> bool {
        let fits = |name: &&str| if self.exact { test.name == *name } else { test.name.contains(*name) };
        let named = self.named.is_empty() || self.named.iter().any(&fits);
        named && !self.skipped.iter().any(fits) && (!self.ignored_only || test.ignored.is_some())
    }

    fn leaves_out(&self, test: &Test) -> Option<&'static str> {
        test.ignored.filter(|_| !self.ignored_only && !self.ignored_too)
    }
}

pub(crate) fn run(tests: &[Test], arguments: &[String]) -> ExitCode {
    let asked = match Asked::read(arguments) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let taken: Vec<&Test> = tests.iter().filter(|test| asked.takes(test)).collect();
    if asked.list {
        taken.iter().for_each(|test| println!("{}: test", test.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", taken.len());
    let (mut passed, mut ignored, mut failed) = (0, 0, Vec::new());
    for test in &taken {
        let name = test.name;
        if let Some(why) = asked.leaves_out(test) {
            println!("test {name} ... ignored, {why}");
            ignored += 1;
        } else if std::panic::catch_unwind(test.run).is_ok() {
            println!("test {name} ... ok");
            passed += 1;
        } else {
            println!("test {name} ... FAILED");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        println!("\nfailures:\n    {}", failed.join("\n    "));
    }
    println!(
        "\ntest result: {}. {passed} passed; {} failed; {ignored} ignored; 0 measured; {} filtered out\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        failed.len(),
        tests.len() - taken.len(),
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}
