//! One rollout over three processes that share a folder, while nearly everything goes wrong.
//!
//! Three processes of a service answer flights with ONNX models. One stages a version, and its plan runs over all three. Meanwhile
//! the third is killed every second and begun again, the second is stopped for some seconds and goes on, and the folder that they
//! agree in is gone for 20 s. Where the guard against versions that take processes down counts three of the third's ends before
//! the version is live, it holds it, and the first is told to go on. Then one of them is asked to roll back. It prints who was where
//! and when, and checks that no answer was missing, that all ended with one live, and that the evidence of all is the sum of what
//! each has seen.
//!
//! ```sh
//! cargo run --release --example fleet --features fleet            # some 75 s
//! cargo run --release --example fleet --features fleet -- --quick # the folder is gone for 5 s
//! ```

#![allow(clippy::disallowed_methods, reason = "a service that is watched as time passes")]

#[path = "../flights/mod.rs"]
mod flights;
mod member;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use member::Told;

type Failed = Box<dyn Error>;

/// A process of the service.
struct Process {
    child: Child,
    says: ChildStdin,
    tells: Receiver<Told>,
    last: Option<Told>,
}

impl Process {
    fn begin(folder: &Path, name: &str) -> Result<Self, Failed> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["member", name])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let says = child.stdin.take().ok_or("no pipe to the process")?;
        let out = BufReader::new(child.stdout.take().ok_or("no pipe from the process")?);
        let (tell, tells) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Ok(told) = serde_json::from_str(&line) {
                    let _ = tell.send(told);
                }
            }
        });
        Ok(Self { child, says, tells, last: None })
    }

    fn say(&mut self, what: &str) -> Result<(), Failed> {
        Ok(writeln!(self.says, "{what}")?)
    }

    #[cfg(unix)]
    fn signal(&self, signal: &str) -> Result<(), Failed> {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(format!("kill {signal} failed").into()) }
    }
}

/// None outlives the example.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What all processes have told.
struct Watch {
    began: Instant,
    folder: PathBuf,
    processes: BTreeMap<&'static str, Process>,
    /// What was last printed of each.
    printed: BTreeMap<&'static str, String>,
    answers: u64,
    missing: u64,
}

impl Watch {
    /// Looks what they tell, and prints what is new.
    fn look(&mut self) {
        for (name, process) in &mut self.processes {
            while let Ok(told) = process.tells.try_recv() {
                let line = told.to_string();
                if self.printed.get(name) != Some(&line) {
                    println!("{:6.1} s  {name}  {line}", self.began.elapsed().as_secs_f64());
                    self.printed.insert(name, line);
                }
                process.last = Some(told);
            }
        }
    }

    fn wait(&mut self, span: Duration) {
        let until = Instant::now() + span;
        while Instant::now() < until {
            self.look();
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it is so, and says how long that took.
    fn until(
        &mut self,
        what: &str,
        patience: Duration,
        so: impl Fn(&Self) -> bool,
    ) -> Result<Duration, Failed> {
        let began = Instant::now();
        while !so(self) {
            if began.elapsed() > patience {
                return Err(format!("it took longer than {patience:?} until {what}").into());
            }
            self.wait(Duration::from_millis(20));
        }
        let took = began.elapsed();
        println!("{:6.1} s  {what}, after {:.1} s", self.began.elapsed().as_secs_f64(), took.as_secs_f64());
        Ok(took)
    }

    fn all(&self, is: impl Fn(&Told) -> bool) -> bool {
        self.processes.values().all(|process| process.last.as_ref().is_some_and(&is))
    }

    fn say(&mut self, name: &str, what: &str) -> Result<(), Failed> {
        self.processes.get_mut(name).ok_or("no such process")?.say(what)
    }

    /// Kills a process, and begins it again.
    fn kill(&mut self, name: &'static str) -> Result<(), Failed> {
        if let Some(mut process) = self.processes.remove(name) {
            process.child.kill()?;
            process.child.wait()?;
            self.count(&mut process);
        }
        self.processes.insert(name, Process::begin(&self.folder, name)?);
        Ok(())
    }

    fn count(&mut self, process: &mut Process) {
        while let Ok(told) = process.tells.recv_timeout(Duration::from_millis(100)) {
            process.last = Some(told);
        }
        if let Some(last) = &process.last {
            self.answers += last.answers;
            self.missing += last.missing;
        }
    }

    fn print(&self, what: &str) {
        println!("{:6.1} s  -- {what}", self.began.elapsed().as_secs_f64());
    }
}

fn run(quick: bool) -> Result<(), Failed> {
    let folder = std::env::temp_dir().join(format!("switchback-fleet-{}", std::process::id()));
    let away = folder.with_extension("away");
    std::fs::create_dir_all(&folder)?;
    drop(switchback::fleet::Directory::create(folder.join("store"))?);
    let mut watch = Watch {
        began: Instant::now(),
        folder: folder.clone(),
        processes: BTreeMap::new(),
        printed: BTreeMap::new(),
        answers: 0,
        missing: 0,
    };
    for name in ["one", "two", "three"] {
        watch.processes.insert(name, Process::begin(&folder, name)?);
    }
    let patience = Duration::from_secs(60);
    watch.until("all answer with v1", patience, |watch| watch.all(|told| told.live == "v1"))?;
    watch.wait(Duration::from_secs(2));

    watch.print("`one` stages v2 and runs its plan; `three` is killed every second");
    watch.say("one", "run v2")?;
    for second in 0..8 {
        watch.wait(Duration::from_secs(1));
        watch.kill("three")?;
        match second {
            3 => {
                watch.print("`two` is stopped");
                watch.processes.get("two").ok_or("no process")?.signal("-STOP")?;
            }
            6 => {
                watch.print("`two` goes on");
                watch.processes.get("two").ok_or("no process")?.signal("-CONT")?;
            }
            _ => {}
        }
    }
    let gone = Duration::from_secs(if quick { 5 } else { 20 });
    watch.print(&format!("the folder is gone for {} s", gone.as_secs()));
    std::fs::rename(folder.join("store"), &away)?;
    watch.wait(gone);
    let told = |process: &Process| process.last.as_ref().is_none_or(|told| told.weight == 0.0);
    let cut_off = watch.processes.values().all(told);
    std::fs::rename(&away, folder.join("store"))?;
    watch.print("the folder is there again");
    if !cut_off {
        return Err("a candidate answered although nobody could ask the store".into());
    }
    // Three of few that end within a minute look as if v2 had ended them. Who knows that it was somebody else resumes it.
    let live = |watch: &Watch| watch.all(|told| told.live == "v2");
    let paused = |watch: &Watch| watch.all(|told| told.paused.is_some());
    watch.until("v2 is live in all, or paused in all", patience, |watch| live(watch) || paused(watch))?;
    if paused(&watch) {
        watch.print("`one` resumes v2: it was not what ended the processes");
        watch.say("one", "resume v2")?;
        watch.until("v2 is live in all", patience, live)?;
    }

    watch.print("`two` is asked to roll back");
    watch.say("two", "rollback")?;
    let back = watch.until("v1 is live in all", patience, |watch| watch.all(|told| told.live == "v1"))?;

    watch.print("`three` stages v3 and has it answer half of the requests; nobody is killed");
    watch.say("three", "canary v3")?;
    let exposed = |told: &Told| told.candidate == "v3" && told.weight > 0.0;
    watch.until("v3 answers in all", patience, |watch| watch.all(exposed))?;
    watch.wait(Duration::from_secs(3));
    for name in ["one", "two", "three"] {
        watch.say(name, "rest")?;
    }
    let sum = |watch: &Watch| -> u64 {
        watch.processes.values().filter_map(|process| process.last.as_ref()).map(|told| told.seen).sum()
    };
    let merged = |watch: &Watch| {
        let told = watch.processes.values().filter_map(|process| process.last.as_ref());
        told.filter(|told| told.judges).map(|told| told.merged).max().unwrap_or_default()
    };
    let equal = |watch: &Watch| merged(watch) == sum(watch) && merged(watch) > 0;
    watch.wait(Duration::from_secs(2));
    let result = watch.until("the evidence of all is the sum of what each has seen", patience, equal);
    println!("          {} requests of v3 were judged, and {} were seen", merged(&watch), sum(&watch));
    result?;

    for name in ["one", "two", "three"] {
        watch.say(name, "quit")?;
        if let Some(mut process) = watch.processes.remove(name) {
            let _ = process.child.wait()?;
            watch.count(&mut process);
        }
    }
    let (answers, missing) = (watch.answers, watch.missing);
    println!(
        "{answers} requests were answered and {missing} were not; a rollback in one process held in all after {:.1} s",
        back.as_secs_f64()
    );
    std::fs::remove_dir_all(&folder)?;
    if missing > 0 { Err("answers were missing".into()) } else { Ok(()) }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match &*arguments {
        [part, name, folder] if part == "member" => member::run(name, Path::new(folder)),
        rest => run(rest.iter().any(|one| one == "--quick")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet: {error}");
            ExitCode::FAILURE
        }
    }
}
