//! A user's program: called with the values of the variables, its numbers read from its output.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use costate::surrogate::campaign::Evaluated;

use super::config::{Config, ConstraintConfig};

/// Between two looks at a program that runs.
const PATIENCE: Duration = Duration::from_millis(5);

/// What is called, and how its output is read.
pub struct Program {
    command: Vec<String>,
    folder: PathBuf,
    names: Vec<String>,
    objective: Option<String>,
    constraints: Vec<ConstraintConfig>,
    time_limit: Option<Duration>,
}

impl Program {
    /// Runs in `folder`; a program named by a path with a slash is looked for there.
    pub fn new(config: &Config, folder: &Path) -> Result<Self, String> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let names: Vec<String> = config.variables.iter().map(|v| v.name.clone()).collect();
        for name in &names {
            let place = format!("{{{name}}}");
            if !config.command.iter().any(|a| a.contains(&place)) {
                return Err(format!("variable {name}: {place} does not occur in the command"));
            }
        }
        for argument in &config.command {
            if let Some(unknown) = places(argument).find(|p| !names.iter().any(|n| n == p)) {
                return Err(format!("command: {{{unknown}}} is no variable"));
            }
        }
        let mut command = config.command.clone();
        if command[0].contains('/') && Path::new(&command[0]).is_relative() {
            let found = folder.join(&command[0]);
            let found = found.canonicalize().map_err(|e| format!("{}: {e}", found.display()))?;
            command[0] = found.display().to_string();
        }
        Ok(Self {
            command,
            folder: folder.to_path_buf(),
            names,
            objective: config.objective.clone(),
            constraints: config.constraints.clone(),
            time_limit: config.time_limit.map(Duration::from_secs_f64),
        })
    }

    /// Calls it; raises of `give_up` and the time limit end it.
    pub fn evaluate(&self, x: &[f64], give_up: &AtomicBool) -> Evaluated {
        let fill = |argument: &String| {
            let replace = |text: String, (name, x): (&String, &f64)| {
                text.replace(&format!("{{{name}}}"), &x.to_string())
            };
            self.names.iter().zip(x).fold(argument.clone(), replace)
        };
        let words: Vec<String> = self.command.iter().map(fill).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: Ctrl-C reaches us alone, and what the program has started ends with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|e| format!("{} cannot be started: {e}", words[0]))?;
        let (output, errors) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let began = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if give_up.load(Ordering::Relaxed) => {
                    end(&mut child);
                    return Err("interrupted".into());
                }
                Ok(None) if self.time_limit.is_some_and(|limit| began.elapsed() > limit) => {
                    end(&mut child);
                    return Err(format!("not finished after {} s", began.elapsed().as_secs_f64().round()));
                }
                Ok(None) => std::thread::sleep(PATIENCE),
                Err(e) => return Err(format!("cannot be waited for: {e}")),
            }
        };
        let text = |handle: JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&handle.join().unwrap_or_default()).into_owned()
        };
        let (output, errors) = (text(output), text(errors));
        if !status.success() {
            let last = errors.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("").trim();
            return Err(format!("{status}: {last}"));
        }
        self.read(&output)
    }

    /// f, and for each bound of a constraint what must not be positive.
    fn read(&self, output: &str) -> Evaluated {
        let count = 1 + self.constraints.len();
        let values = if let Some(text) = &self.objective {
            let texts = std::iter::once(Some(text)).chain(self.constraints.iter().map(|c| c.read.as_ref()));
            texts.flatten().map(|text| behind(output, text)).collect::<Result<Vec<f64>, String>>()?
        } else {
            let all: Vec<f64> = numbers(output).collect();
            let first = all.len().checked_sub(count);
            let first = first.ok_or(format!("printed {} numbers, expected at least {count}", all.len()))?;
            all[first..].to_vec()
        };
        let mut limits = vec![];
        for (c, value) in self.constraints.iter().zip(&values[1..]) {
            limits.extend(c.lower.map(|lower| lower - value));
            limits.extend(c.upper.map(|upper| value - upper));
        }
        Ok((values[0], limits))
    }
}

/// Names in braces.
fn places(text: &str) -> impl Iterator<Item = &str> {
    let name = |s: &str| {
        s.chars().next().is_some_and(|c| c.is_ascii_alphabetic())
            && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    text.split('{').skip(1).filter_map(|s| s.split_once('}').map(|s| s.0)).filter(move |s| name(s))
}

/// Everything that is a number, in order.
fn numbers(text: &str) -> impl Iterator<Item = f64> {
    text.split(|c: char| c.is_whitespace() || ",;:=()[]".contains(c)).filter_map(|w| w.parse().ok())
}

/// The first number behind the last occurrence of a text.
fn behind(output: &str, text: &str) -> Result<f64, String> {
    let place = output.rfind(text).ok_or(format!("\"{text}\" does not occur in its output"))?;
    numbers(&output[place + text.len()..]).next().ok_or(format!("no number behind \"{text}\" in its output"))
}

/// Reads to the end beside the waiting, so that a program that prints much is not held up.
fn drain(source: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = vec![];
        if let Some(mut source) = source {
            let _ = source.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Ends the program and, where the system has process groups, all that it has started.
fn end(child: &mut Child) {
    #[cfg(unix)]
    {
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_an_output() {
        let text = "step 3 of 4\nmass = 12.5, stress: [1e3]\nmass = -0.25 kg\n";
        assert_eq!(numbers(text).collect::<Vec<_>>(), [3.0, 4.0, 12.5, 1000.0, -0.25]);
        assert_eq!(behind(text, "mass"), Ok(-0.25));
        assert_eq!(behind(text, "stress"), Ok(1000.0));
        assert!(behind(text, "volume").is_err() && behind(text, "kg").is_err());
        assert!(numbers("nan").next().is_some_and(f64::is_nan));
        assert_eq!(places("--a={a} {b_1}{} {0} {x y}").collect::<Vec<_>>(), ["a", "b_1"]);
    }
}
