use super::*;

/// The shared folder of data, if there is one; a missing one is an error while COSTATE_REQUIRE_SHARED is set.
fn shared() -> Option<PathBuf> {
    let root = match std::env::var_os("COSTATE_SHARED") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let dir = root.join("data/libsvm");
    if dir.is_dir() {
        return Some(dir);
    }
    assert!(std::env::var_os("COSTATE_REQUIRE_SHARED").is_none(), "{} is required and absent", dir.display());
    eprintln!("skipped: {} is absent", dir.display());
    None
}

const PAPER: &str = r#"
data = ["german_scale.gz", "a9a.gz"]
family = "logistic"
start = 1.0
multiplier = 1.0
[constraints]
random_rows = 10
norm_equal = 1.0
seed = 1
"#;

#[test]
fn the_constrained_logistic_regressions_of_the_paper_are_solved() {
    let Some(folder) = shared() else { return };
    let config: Config = toml::from_str(PAPER).unwrap();
    let mut said = 0;
    let rows = config.run(&folder, &StopToken::default(), &mut |_| said += 1).unwrap();
    assert_eq!((rows.len(), said), (2, 2));
    for row in &rows {
        let fit = row.fit.as_ref().unwrap();
        assert!(row.solved() && fit.residual < 1e-6 && row.constraints == 11, "{}: {:?}", row.data, fit.stop);
        assert!((fit.w.iter().map(|w| w * w).sum::<f64>() - 1.0).abs() < 1e-7);
    }
}

fn table() -> (PathBuf, String) {
    let folder = std::env::temp_dir().join(format!("costate-fit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut text = String::from("x,z,y\n");
    for i in 0..200 {
        let (x, z) = ((i as f64 * 0.37).sin(), (i as f64 * 0.91).cos());
        text += &format!("{x},{z},{}\n", 2.0 * x + 1.0 + 0.1 * (i as f64 * 2.3).sin());
    }
    std::fs::write(folder.join("t.csv"), &text).unwrap();
    (folder, text)
}

#[test]
fn tables_paths_folds_and_named_constraints() {
    let (folder, _) = table();
    let run = |more: &str| {
        let text = format!("data = [\"t.csv\"]\nfamily = \"least-squares\"\n{more}");
        let config: Config = toml::from_str(&text).map_err(|e| e.to_string())?;
        config.run(&folder, &StopToken::default(), &mut |_| {}).map_err(|e| e.to_string())
    };
    let columns = "[columns]\ntarget = \"y\"\nintercept = true\n";
    let free = run(columns).unwrap();
    let w = &free[0].fit.as_ref().unwrap().w;
    assert!((w[0] - 2.0).abs() < 0.05 && w[1].abs() < 0.05 && (w[2] - 1.0).abs() < 0.05, "{w:?}");
    let bound =
        format!("{columns}[[constraints.linear]]\ncoefficients = {{ x = 1.0, z = 1.0 }}\nupper = 1.5\n");
    let rows = run(&bound).unwrap();
    let w = &rows[0].fit.as_ref().unwrap().w;
    assert!(rows[0].solved() && (w[0] + w[1] - 1.5).abs() < 1e-6, "{w:?}");
    let folds = format!("{columns}[penalty]\nfolds = 5\npath = {{ values = 10 }}\n");
    let rows = run(&folds).unwrap();
    assert!(rows[0].solved() && rows[0].path.len() == 10 && rows[0].folds.is_some());
    for (text, want) in [
        ("[columns]\n", "no column \"label\""),
        ("[solver]\nhessian = [\"gauss\"]\n", "unknown Hessian model 'gauss'"),
        ("[solver]\nsteps = 3\n", "unknown field"),
        ("[constraints]\nrandom_rows = 9\n[columns]\ntarget = \"y\"\n", "expected fewer than the 2"),
    ] {
        let error = run(text).unwrap_err();
        assert!(error.contains(want), "{error}");
    }
}
