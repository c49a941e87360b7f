//! One stage of a long run: its name, its budget, its command, and how long it really took.

use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// A stage of `check` or `deep`.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    /// What the stage is expected to take on a 2-core machine; printed, and three times as long ends it.
    pub(crate) budget: Duration,
    pub(crate) command: Command,
}

/// What became of a stage.
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) budget: Duration,
    pub(crate) took: Duration,
    pub(crate) passed: bool,
}

/// A stage that runs `program` with `args` in the workspace's root.
pub(crate) fn stage(name: &'static str, budget_s: u64, program: &str, args: &[&str]) -> Stage {
    let mut command = Command::new(program);
    command.args(args);
    Stage { name, budget: Duration::from_secs(budget_s), command }
}

impl Stage {
    /// Adds an environment variable.
    pub(crate) fn env(mut self, key: &str, value: &str) -> Stage {
        self.command.env(key, value);
        self
    }

    fn run(mut self) -> Outcome {
        println!("==> {} (budget {} s): {}", self.name, self.budget.as_secs(), shown(&self.command));
        let start = Instant::now();
        let passed = match wait(&mut self.command, self.budget * 3) {
            Ok(status) => status.success(),
            Err(error) => {
                println!("    {}: {error}", self.name);
                false
            }
        };
        let took = start.elapsed();
        let verdict = if passed { "ok" } else { "FAILED" };
        println!("<== {} {verdict} in {} s of {} s", self.name, took.as_secs(), self.budget.as_secs());
        Outcome { name: self.name, budget: self.budget, took, passed }
    }
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

/// Waits for the command, and kills it when it takes longer than `limit`: a hang must end the run, not stall it.
fn wait(command: &mut Command, limit: Duration) -> std::io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Err(std::io::Error::other(format!("still running after {} s, killed", limit.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Runs all stages in order, to the end even if one fails, and prints the table of times. True if all passed.
pub(crate) fn run_all(stages: Vec<Stage>) -> bool {
    let outcomes: Vec<Outcome> = stages.into_iter().map(Stage::run).collect();
    println!("\n{:<12} {:>8} {:>8}  result", "stage", "took s", "budget s");
    for o in &outcomes {
        let result = if o.passed { "ok" } else { "FAILED" };
        println!("{:<12} {:>8} {:>8}  {result}", o.name, o.took.as_secs(), o.budget.as_secs());
    }
    let (took, budget) =
        outcomes.iter().fold((0, 0), |(t, b), o| (t + o.took.as_secs(), b + o.budget.as_secs()));
    println!("{:<12} {took:>8} {budget:>8}", "total");
    outcomes.iter().all(|o| o.passed)
}
