//! What is to be solved: files, parameters, variants.

use std::path::{Path, PathBuf};

use super::BenchArgs;
use crate::cli::Failure;
use crate::cli::args::{Variant, parse_param};
use crate::cli::load;

/// One solve.
#[derive(Debug, Clone)]
pub struct Task {
    /// File.
    pub path: PathBuf,
    /// Name in tables: the file's, without folder and ending.
    pub name: String,
    /// Parameters: those of every problem, then those of the list.
    pub params: Vec<(String, String)>,
    /// Linear solver, tolerance, seed.
    pub variant: Variant,
}

/// Parameters as in the column `params`.
pub fn params_text(params: &[(String, String)]) -> String {
    params.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

type Problem = (PathBuf, Vec<(String, String)>);

/// All solves: problem by problem, then linear solver, tolerance, seed.
pub fn collect(args: &BenchArgs) -> Result<Vec<Task>, Failure> {
    let mut problems: Vec<Problem> = Vec::new();
    for path in &args.paths {
        add_path(path, &mut problems)?;
    }
    if let Some(list) = &args.list {
        let folder = args.dir.clone().or_else(|| list.parent().map(Path::to_path_buf)).unwrap_or_default();
        add_list(list, &folder, &mut problems)?;
    }
    let mut tasks = Vec::new();
    for (path, own) in problems {
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let params: Vec<_> = args.read.params.iter().cloned().chain(own).collect();
        for &linear in &args.linear {
            for &tolerance in &args.tol {
                for k in 0..args.seeds {
                    let variant = Variant { linear, tolerance, seed: args.seed.wrapping_add(k) };
                    tasks.push(Task {
                        path: path.clone(),
                        name: name.clone(),
                        params: params.clone(),
                        variant,
                    });
                }
            }
        }
    }
    if tasks.is_empty() {
        return Err(Failure("no problem files found".into()));
    }
    Ok(tasks)
}

/// A file as it is, of a folder all *.SIF, *.nl and *.nl.gz by name.
fn add_path(path: &Path, problems: &mut Vec<Problem>) -> Result<(), Failure> {
    let error = |e: std::io::Error| Failure(format!("{}: {e}", path.display()));
    if !std::fs::metadata(path).map_err(error)?.is_dir() {
        problems.push((path.to_path_buf(), Vec::new()));
        return Ok(());
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(error)? {
        let file = entry.map_err(error)?.path();
        if load::is_problem_file(&file) {
            files.push(file);
        }
    }
    files.sort();
    problems.extend(files.into_iter().map(|f| (f, Vec::new())));
    Ok(())
}

fn add_list(list: &Path, folder: &Path, problems: &mut Vec<Problem>) -> Result<(), Failure> {
    let error = |what: String| Failure(format!("{}: {what}", list.display()));
    let mut reader = csv::Reader::from_path(list).map_err(|e| error(e.to_string()))?;
    let headers = reader.headers().map_err(|e| error(e.to_string()))?.clone();
    let column = |name: &str| headers.iter().position(|h| h == name);
    let name_column = column("name").ok_or_else(|| error("expected a column 'name'".into()))?;
    let params_column = column("params");
    for (k, record) in reader.records().enumerate() {
        let record = record.map_err(|e| error(e.to_string()))?;
        let name = record.get(name_column).unwrap_or_default();
        let params: Result<Vec<_>, _> = params_column
            .and_then(|c| record.get(c))
            .unwrap_or_default()
            .split_whitespace()
            .map(|p| parse_param(p).map_err(|e| error(format!("row {}: found '{p}', {e}", k + 1))))
            .collect();
        problems.push((folder.join(format!("{name}.SIF")), params?));
    }
    Ok(())
}
