//! Irregularly observed series: a reader for the text files of the Physionet 2012 challenge, and a generator of series of the same shape.
//!
//! A file is one patient: a header `Time,Parameter,Value`, then lines as `00:07,HR,73`, times in hours and minutes up to 48:00. Of the parameters,
//! 37 change in time; the descriptors of the patient (`RecordID`, `Age`, `Gender`, `Height`, `ICUType`) are left out, -1 means not measured.
//! Observations of one hour are averaged, which gives 49 times; each feature is scaled to [0, 1] by its range over all patients read.

use std::fs;
use std::path::Path;

use rand::RngExt;

use super::data::{Stream, generator};
use super::error::TrainError;

/// The parameters of the challenge that change in time.
pub const FEATURES: [&str; 37] = [
    "Weight",
    "Albumin",
    "ALP",
    "ALT",
    "AST",
    "Bilirubin",
    "BUN",
    "Cholesterol",
    "Creatinine",
    "DiasABP",
    "FiO2",
    "GCS",
    "Glucose",
    "HCO3",
    "HCT",
    "HR",
    "K",
    "Lactate",
    "Mg",
    "MAP",
    "MechVent",
    "Na",
    "NIDiasABP",
    "NIMAP",
    "NISysABP",
    "PaCO2",
    "PaO2",
    "pH",
    "Platelets",
    "RespRate",
    "SaO2",
    "SysABP",
    "Temp",
    "TroponinI",
    "TroponinT",
    "Urine",
    "WBC",
];
const DESCRIPTORS: [&str; 5] = ["RecordID", "Age", "Gender", "Height", "ICUType"];

/// Hourly times, the start included.
pub const TIMES: usize = 49;

/// Values and masks, patient after patient, time after time, feature after feature. Where the mask is 0 the value is 0.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Scaled to [0, 1].
    pub values: Vec<f32>,
    /// 1 where observed.
    pub mask: Vec<u8>,
}

const BLOCK: usize = TIMES * FEATURES.len();

impl Series {
    /// Number of patients.
    pub fn len(&self) -> usize {
        self.values.len() / BLOCK
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
    /// Values and mask of a patient at a time.
    pub fn at(&self, patient: usize, time: usize) -> (&[f32], &[u8]) {
        let from = patient * BLOCK + time * FEATURES.len();
        (&self.values[from..from + FEATURES.len()], &self.mask[from..from + FEATURES.len()])
    }
    /// Patients from..from + count.
    pub fn part(&self, from: usize, count: usize) -> Result<Self, TrainError> {
        if from + count > self.len() {
            let have = self.len();
            let what = format!("{count} series from number {from} on are asked for, there are {have}");
            return Err(TrainError::config(what));
        }
        let range = from * BLOCK..(from + count) * BLOCK;
        Ok(Self { values: self.values[range.clone()].to_vec(), mask: self.mask[range].to_vec() })
    }

    /// All `.txt` files of a folder, in the order of their names.
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        let shown = folder.display().to_string();
        let io = |path: &Path, source| TrainError::Io { path: path.display().to_string(), source };
        let entries = fs::read_dir(folder).map_err(|e| io(folder, e))?;
        let mut files: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        files.retain(|f| f.extension().is_some_and(|e| e == "txt"));
        files.sort();
        let mut all = Self::default();
        for file in &files {
            let text = fs::read_to_string(file).map_err(|e| io(file, e))?;
            patient(&text, &mut all)
                .map_err(|what| TrainError::Data { path: file.display().to_string(), what })?;
        }
        if files.is_empty() {
            return Err(TrainError::Data {
                path: shown,
                what: "there is no .txt file in this folder".into(),
            });
        }
        all.scale();
        Ok(all)
    }

    /// Each feature to [0, 1] by its range; a constant one to 0.
    fn scale(&mut self) {
        let m = FEATURES.len();
        for f in 0..m {
            let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
            for i in (f..self.values.len()).step_by(m).filter(|i| self.mask[*i] == 1) {
                low = low.min(self.values[i]);
                high = high.max(self.values[i]);
            }
            let width = high - low;
            for i in (f..self.values.len()).step_by(m).filter(|i| self.mask[*i] == 1) {
                self.values[i] = if width > 0.0 { (self.values[i] - low) / width } else { 0.0 };
            }
        }
    }

    /// Series of the same shape: every feature mixes three hidden oscillations whose phases and sizes are the patient's, on top of a level of its own,
    /// and is observed with a probability of its own, from nearly every hour to twice a day. Patient i depends on seed and i only.
    pub fn generated(count: usize, first: u64, seed: u64) -> Self {
        let m = FEATURES.len();
        // The mixture is the same for all patients.
        let mut rng = generator(seed, Stream::Data, u64::MAX);
        let mut table = |low: f64, high: f64, n: usize| -> Vec<f64> {
            (0..n).map(|_| low + (high - low) * rng.random::<f64>()).collect()
        };
        let (level, mix, rates) = (table(0.3, 0.7, m), table(-0.15, 0.15, 3 * m), table(0.04, 0.9, m));
        let mut all = Self::default();
        for i in 0..count {
            let mut rng = generator(seed, Stream::Data, first + i as u64);
            let mut draw = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
            let waves: Vec<[f64; 3]> = (0..3)
                .map(|k| [draw(0.3, 1.0), draw(0.0, std::f64::consts::TAU), (k + 1) as f64 * draw(1.5, 2.5)])
                .collect();
            let decay = draw(0.0, 1.0);
            for k in 0..TIMES {
                let t = k as f64 / (TIMES - 1) as f64;
                let hidden = |w: &[f64; 3]| w[0] * (-decay * t).exp() * (w[1] + w[2] * t).sin();
                let hidden: Vec<f64> = waves.iter().map(hidden).collect();
                for f in 0..m {
                    let value = level[f] + (0..3).map(|j| mix[3 * f + j] * hidden[j]).sum::<f64>();
                    let seen = draw(0.0, 1.0) < rates[f];
                    let noise = draw(-0.01, 0.01);
                    all.values.push(if seen { (value + noise) as f32 } else { 0.0 });
                    all.mask.push(seen as u8);
                }
            }
        }
        all
    }
}

/// Adds one patient; the error names the line.
fn patient(text: &str, all: &mut Series) -> Result<(), String> {
    let mut lines = text.lines().enumerate();
    let header = lines.next().map_or("", |(_, l)| l.trim());
    if header != "Time,Parameter,Value" {
        return Err(format!("begins with {header:?}, expected \"Time,Parameter,Value\""));
    }
    let mut sums = vec![0.0f64; BLOCK];
    let mut counts = vec![0u32; BLOCK];
    for (i, line) in lines.filter(|(_, l)| !l.trim().is_empty()) {
        let wrong = |what: &str| format!("line {}: {what}: {line:?}", i + 1);
        let mut cells = line.trim().split(',');
        let (Some(time), Some(name), Some(value), None) =
            (cells.next(), cells.next(), cells.next(), cells.next())
        else {
            return Err(wrong("expected time, parameter and value"));
        };
        let clock = time.split_once(':').and_then(|(h, m)| Some((h.parse().ok()?, m.parse().ok()?)));
        let Some((hour, minute)) = clock.filter(|(h, m): &(usize, usize)| *m < 60 && 60 * h + m <= 48 * 60)
        else {
            return Err(wrong("the time is not between 00:00 and 48:00"));
        };
        let Some(value) = value.parse::<f64>().ok().filter(|v| v.is_finite()) else {
            return Err(wrong("the value is not a number"));
        };
        if DESCRIPTORS.contains(&name) || name.is_empty() || value == -1.0 {
            continue;
        }
        let Some(feature) = FEATURES.iter().position(|f| *f == name) else {
            return Err(wrong("unknown parameter"));
        };
        // The hour's observations belong to its end; 00:00 to the start.
        let k = (60 * hour + minute).div_ceil(60);
        sums[k * FEATURES.len() + feature] += value;
        counts[k * FEATURES.len() + feature] += 1;
    }
    for (s, n) in sums.iter().zip(&counts) {
        all.values.push(if *n > 0 { (s / *n as f64) as f32 } else { 0.0 });
        all.mask.push((*n > 0) as u8);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_challenge() {
        let folder = std::env::temp_dir().join(format!("costate-series-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let a = "Time,Parameter,Value\n00:00,RecordID,132539\n00:00,Age,54\n00:00,Weight,-1\n00:07,HR,73\n00:37,HR,77\n48:00,Temp,35.1\n";
        let b = "Time,Parameter,Value\n00:00,RecordID,132540\n01:00,HR,95\n12:30,Temp,37.1\n";
        fs::write(folder.join("132539.txt"), a).unwrap();
        fs::write(folder.join("132540.txt"), b).unwrap();
        fs::write(folder.join("notes.md"), "not a patient").unwrap();
        let s = Series::read(&folder).unwrap();
        assert_eq!((s.len(), s.mask.iter().map(|m| *m as u32).sum::<u32>()), (2, 4));
        let at = |name: &str| FEATURES.iter().position(|f| *f == name).unwrap();
        let (hr, temp) = (at("HR"), at("Temp"));
        // The mean of 73 and 77 is the smallest, 95 the largest.
        assert_eq!((s.at(0, 1).0[hr], s.at(0, 1).1[hr], s.at(1, 1).0[hr]), (0.0, 1, 1.0));
        assert_eq!((s.at(0, 48).0[temp], s.at(1, 13).0[temp]), (0.0, 1.0));
        for (bad, want) in [
            ("Time,Value\n", "begins with"),
            ("Time,Parameter,Value\n00:07,HR\n", "line 2: expected time"),
            ("Time,Parameter,Value\n00:07,HR,7x\n", "not a number"),
            ("Time,Parameter,Value\n49:00,HR,7\n", "between 00:00 and 48:00"),
            ("Time,Parameter,Value\n00:07,Heart,7\n", "unknown parameter"),
        ] {
            fs::write(folder.join("132541.txt"), bad).unwrap();
            let text = Series::read(&folder).unwrap_err().to_string();
            assert!(text.contains("132541.txt: ") && text.contains(want), "{text}");
        }
        fs::remove_dir_all(&folder).unwrap();
        assert!(Series::read(&folder).is_err());
    }

    #[test]
    fn generated_series_do_not_depend_on_their_number() {
        let all = Series::generated(6, 0, 1);
        assert_eq!(all.part(2, 3).unwrap(), Series::generated(3, 2, 1));
        assert!(all.part(5, 2).is_err());
        let share = all.mask.iter().map(|m| *m as f64).sum::<f64>() / all.mask.len() as f64;
        assert!((0.2..0.7).contains(&share), "{share}");
        assert!(all.values.iter().all(|v| (-0.2..1.2).contains(v)));
    }
}
