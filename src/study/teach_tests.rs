use super::super::Verdict;
use super::*;
use crate::study::digits::CLASSES;
use crate::study::school::Tools;

/// Lessons (taught, real, shuffled), then learners (taught, real, all data).
fn verdict(lessons: &[[f64; 3]], learners: &[[f64; 3]]) -> Verdict {
    let mut table = Table::new(&["learner", "taught", "real", "shuffled", "all data", "task", "method", "J"]);
    for task in priced::TASKS {
        for method in ["unrolled", priced::GRID_NAME] {
            table.push([vec![Cell::Missing; 5], vec![task.into(), method.into(), 1.0.into()]].concat());
        }
    }
    for [taught, real, mixed] in lessons {
        table.push(vec!["64 tanh".into(), (*taught).into(), (*real).into(), (*mixed).into(), Cell::Missing]);
    }
    for (k, [taught, real, all]) in learners.iter().enumerate() {
        let name = if k == 0 { "64 tanh" } else { "other" };
        table.push(vec![name.into(), (*taught).into(), (*real).into(), Cell::Missing, (*all).into()]);
    }
    Teaching.judge(&table).verdict()
}

#[test]
fn the_criterion_on_made_up_tables() {
    let lessons = [[0.9, 0.85, 0.88], [0.92, 0.8, 0.88]];
    let learners = [[0.9, 0.7, 0.97], [0.8, 0.8, 0.95], [0.5, 0.6, 0.9]];
    assert_eq!(verdict(&lessons, &learners), Verdict::Holds);
    assert_eq!(verdict(&[[0.9, 0.86, 0.8], [0.92, 0.8, 0.8]], &learners), Verdict::DoesNotHold);
    assert_eq!(verdict(&[[0.9, 0.8, 0.9], [0.92, 0.8, 0.89]], &learners), Verdict::DoesNotHold);
    assert_eq!(
        verdict(&lessons, &[[0.7, 0.9, 0.97], [0.8, 0.8, 0.95], [0.5, 0.6, 0.9]]),
        Verdict::DoesNotHold
    );
    assert_eq!(verdict(&lessons, &[]), Verdict::CannotBeDecided);
}

#[test]
fn lessons_hold_the_labels_they_are_taught_with() {
    let digits = Digits::read(None, 200).unwrap();
    let school = School { digits: &digits, train: 150 };
    let lesson = school.real(1, (0.1, 0.5));
    for (k, x) in lesson.samples.chunks_exact(INPUTS).enumerate() {
        let found =
            (0..150).any(|i| digits.label(i) == k % BATCH % CLASSES && digits.rows([i].into_iter()) == x);
        assert!(found, "{k}");
    }
    let mixed = shuffled(&lesson, 1);
    let len = BATCH * INPUTS;
    for t in 0..STEPS {
        let batch = &mixed.samples[t * len..][..len];
        assert_eq!(lesson.samples.chunks_exact(len).filter(|b| *b == batch).count(), 1);
    }
    assert!(mixed.samples != lesson.samples);
}

/// The gradient by samples, r and m is that of differences.
#[test]
fn the_outer_gradient_by_differences() {
    let digits = Digits::read(None, 300).unwrap();
    let school = School { digits: &digits, train: 200 };
    let mut tools = Tools::new(&school, net(6, Activation::Tanh).unwrap()).unwrap();
    let n = STEPS * BATCH * INPUTS;
    let mut learned = school.real(2, (0.1, 0.5)).samples;
    learned.extend(
        (0..2 * STEPS).map(|k| if k < STEPS { -2.0 - 0.02 * k as f64 } else { 0.1 * (k as f64).sin() }),
    );
    let (_, g) = school.outer(&mut tools, &learned, 1, 0).unwrap();
    let size = g[n..].iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for k in [100, 5000, n, n + 7, n + STEPS - 1, n + STEPS, n + STEPS + 9] {
        let mut at = |h: f64| {
            let mut moved = learned.clone();
            moved[k] += h;
            school.outer(&mut tools, &moved, 1, 0).unwrap().0
        };
        let slope = (at(1e-4) - at(-1e-4)) / 2e-4;
        assert!((slope - g[k]).abs() < 1e-6 * (size + slope.abs()), "{k}: {slope} {}", g[k]);
    }
}

#[test]
fn real_steps_learn() {
    let digits = Digits::read(None, 600).unwrap();
    let school = School { digits: &digits, train: 400 };
    let net = net(16, Activation::Tanh).unwrap();
    let nothing = Lesson { rates: vec![0.0; STEPS], ..school.real(1, (0.1, 0.0)) };
    let (before, after) = (school.after(&net, &nothing, 1).unwrap(), school.best_real(&net, 1).unwrap());
    assert!(before < 0.3 && after > before + 0.2, "{before} {after}");
}
