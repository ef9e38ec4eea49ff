//! Reading a configuration: one sentence for everything that is wrong.

use std::path::Path;

use costate::Error;
use costate::train::Config;

use super::super::Failure;
use super::super::nearest::nearest;

/// Reads and checks a configuration.
pub fn read(path: &Path) -> Result<Config, Failure> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: name.clone(), source })?;
    let config = parse(&text).map_err(|what| Failure(format!("{name}: {what}")))?;
    config.check().map_err(|e| Failure(format!("{name}: {e}")))?;
    Ok(config)
}

/// The configuration in a text.
pub fn parse(text: &str) -> Result<Config, String> {
    toml::from_str(text).map_err(|e| explain(text, &e))
}

/// What is wrong with a text, as one sentence with its line and the closest known key.
pub fn explain(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let at = error.span().map_or(String::new(), |s| format!("line {}: ", line(text, s.start)));
    format!("{at}{message}{}", suggestion(&message))
}

/// The line of a place in a text, counted from 1.
pub fn line(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}

/// For "unknown field `x`, expected one of `a`, `b`": the known name closest to x.
fn suggestion(message: &str) -> String {
    if !message.starts_with("unknown ") {
        return String::new();
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let Some(found) = names.next() else { return String::new() };
    nearest(found, names).map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[task]
kind = "spiral_ode"
[train]
epochs = 10
rate = { kind = "cosine", from = 0.01, to = 0.001 }
[optimizer]
kind = "adam"
[[penalty]]
kind = "error"
weight = 100
[[variant]]
name = "plain"
"#;

    #[test]
    fn defaults_are_filled_in() {
        let config = parse(GOOD).unwrap();
        config.check().unwrap();
        assert_eq!((config.train.batch, config.penalties.len()), (512, 1));
        let tolerances = [false, true].map(|stochastic| config.solver.tolerances(stochastic));
        assert_eq!(tolerances, [(1.4e-8, 1.4e-8), (0.14, 0.14)]);
        assert!(config.with_variant("plain").unwrap().penalties.is_empty());
        assert!(config.with_variant("plane").unwrap_err().to_string().contains("there are: plain"));
    }

    #[test]
    fn unknown_keys_get_a_suggestion() {
        for (from, to, want) in [
            ("epochs = 10", "epochs = 10\nbatsh = 3", "line 6: unknown field `batsh`"),
            ("epochs = 10", "epochs = 10\nbatsh = 3", "did you mean `batch`?"),
            ("[optimizer]", "[solver]\nrtoll = 1e-3\n[optimizer]", "did you mean `rtol`?"),
            ("\"adam\"", "\"adam\"\nbeta3 = 0.5", "did you mean `beta"),
            ("\"adam\"", "\"adamax \"", "unknown variant `adamax `"),
            ("\"adam\"", "\"adammax\"", "did you mean `adamax`?"),
            ("weight = 100", "weight = 100\nagregate = \"max\"", "did you mean `aggregate`?"),
            ("\"spiral_ode\"", "\"spiral_ode\"\npionts = 3", "did you mean `points`?"),
            ("to = 0.001", "too = 0.001", "did you mean `to`?"),
            ("[optimizer]", "[optimiser]", "did you mean `optimizer`?"),
        ] {
            let text = GOOD.replace(from, to);
            let error = parse(&text).unwrap_err();
            assert!(error.contains(want), "{to}: {error}");
            assert!(!error.contains('\n'));
        }
        assert!(!parse(&GOOD.replace("epochs", "qqqqqqqqqq")).unwrap_err().contains("did you mean"));
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (from, to, want) in [
            ("epochs = 10", "epochs = 0", "train.epochs is 0"),
            ("epochs = 10", "epochs = 10\nclip = -1.0", "train.clip is -1"),
            ("weight = 100", "weight = -1", "at least zero"),
            ("kind = \"error\"", "kind = \"taylor\"\norder = 9", "order is 9"),
            ("[optimizer]", "[solver]\nmethod = \"rk4\"\n[optimizer]", "it must be one of bs32"),
            ("\"spiral_ode\"", "\"spiral_ode\"\npoints = 1", "task.points is 1"),
            ("\"adam\"", "\"adam\"\nbeta1 = 1.0", "beta1 is 1"),
            ("\"plain\"", "\"plain\"\nsteer = -1.0", "solver.steer is -1"),
            ("\"plain\"", "\"plain, too\"", "must not hold one"),
            ("\"plain\"", "\"plain\"\nsteer = 1.5", "it must be at most 1"),
            ("weight = 100", "weight = { kind = \"ramp\", from = 0, to = 1, begin = 1 }", "begin is 1"),
            (
                "\"spiral_ode\"",
                "\"mnist_sde\"\n[solver]\nsteer = 1.0",
                "solver.steer is 1, it must be below 1",
            ),
            ("\"spiral_ode\"", "\"spiral_sde\"\n[solver]\nsteer = 1.1", "it must be at most 1"),
            ("\"spiral_ode\"", "\"mnist_ode\"\npiece = 0", "task.piece is 0, it must be at least 1"),
            ("\"spiral_ode\"", "\"mnist_sde\"\npiece = 0", "task.piece is 0, it must be at least 1"),
            ("\"spiral_ode\"", "\"spiral_sde\"\npiece = 0", "task.piece is 0, it must be at least 1"),
            (
                "\"spiral_ode\"",
                "\"latent_ode\"\ntrain = 9\ntest = 9\npiece = 0",
                "task.piece is 0, it must be at least 1",
            ),
        ] {
            let config = parse(&GOOD.replace(from, to)).unwrap();
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(want), "{to}: {error}");
        }
    }

    /// Sections that a block of the documentation does not have.
    fn completed(block: &str) -> String {
        let mut text = block.to_string();
        for (head, section) in [
            ("[task]", "[task]\nkind = \"spiral_ode\"\n"),
            ("[train]", "[train]\nepochs = 1\nrate = 1\n"),
            ("[optimizer]", "[optimizer]\nkind = \"sgd\"\n"),
        ] {
            if !block.contains(head) {
                text += section;
            }
        }
        text
    }

    /// Every block of the documentation means the same without its keys that are not required, and names all keys there are.
    #[test]
    fn documented_defaults() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/training-config.md");
        let text = std::fs::read_to_string(path).unwrap();
        let blocks: Vec<&str> =
            text.split("```toml\n").skip(1).map(|b| b.split("```").next().unwrap()).collect();
        let optimizers = costate::train::OptimizerConfig::every().len();
        assert_eq!(blocks.len(), 7 + 1 + 1 + optimizers + 7 + 1 + 1);
        for block in blocks {
            let kept = |l: &&str| l.starts_with('[') || l.contains("# required");
            let least = block.lines().filter(kept).collect::<Vec<_>>().join("\n") + "\n";
            let (full, least) = (parse(&completed(block)).unwrap(), parse(&completed(&least)).unwrap());
            // An optimizer may need what the task that stands in here does not give.
            if let Err(e) = full.check() {
                assert!(e.to_string().contains("which this kind of task does not give"), "{e}");
            }
            assert_eq!(full, least, "{block}");
            let value = serde_json::to_value(&full).unwrap();
            let section = block.lines().next().unwrap().trim_matches(['[', ']']);
            let of = if value[section].is_array() { &value[section][0] } else { &value[section] };
            for key in of.as_object().unwrap().keys() {
                let named = |l: &str| l.trim_start_matches("# ").split(" = ").next() == Some(key.as_str());
                assert!(block.lines().any(named), "{section}: {key} is not documented");
            }
        }
    }

    /// All examples are valid, and those that compare have a row for every method of the papers that suits their task.
    #[test]
    fn examples() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/train");
        let mut compared = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "toml") {
                continue;
            }
            let config = read(&path).unwrap_or_else(|e| panic!("{}", e.0));
            if config.variants.is_empty() {
                continue;
            }
            compared += 1;
            assert_eq!(config.variants[0].name, "vanilla", "{}", path.display());
            let mut names =
                vec!["expected steps", "STEER", "R_S", "R_E", "R_E2", "R_S + R_E", "local biased"];
            names.push("local unbiased");
            if !config.task.is_stochastic() {
                names.push("TayNODE");
            }
            for name in names {
                let v = config.variants.iter().find(|v| v.name == name);
                let v = v.unwrap_or_else(|| panic!("{}: no {name}", path.display()));
                assert_eq!((v.steer > 0.0, v.penalties.is_empty()), (name == "STEER", name == "STEER"));
            }
        }
        assert_eq!(compared, 5);
    }
}
