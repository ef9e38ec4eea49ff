//! Images: IDX files and generated digits; seeded shuffling.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use rand::RngExt;
use rand::rngs::StdRng;

use super::error::TrainError;

/// What random numbers are for: streams of one seed that do not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Initial parameters.
    Init = 1,
    /// Order of the samples; index: epoch.
    Shuffle = 2,
    /// Choices within a pass; index: step.
    Pass = 3,
    /// Generated data; index: sample.
    Data = 4,
    /// Which rows of a table are kept aside; index: 0.
    Split = 5,
    /// Measurements along a run; index: sample.
    Diagnose = 16,
}

/// The generator of one purpose: depends on seed, purpose and index only, so nothing has to be remembered to go on after an interruption.
pub fn generator(seed: u64, stream: Stream, index: u64) -> StdRng {
    crate::random::generator(seed, stream as u64, index)
}

/// A permutation of 0..n for an epoch (Fisher and Yates).
pub fn shuffled(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = generator(seed, Stream::Shuffle, epoch);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
    order
}

/// Pixels of a generated image (and of MNIST's): 28 x 28.
pub const PIXELS: usize = 784;
/// Digits.
pub const CLASSES: usize = 10;

/// Grey images with labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Images {
    /// Pixels of one image.
    pub pixels: usize,
    /// 0 to 255, image after image.
    pub data: Vec<u8>,
    /// One a image.
    pub labels: Vec<u8>,
}

/// The bytes of this file, or of that with `.gz` behind its name, unpacked if they are gzip.
fn read_packed(plain: &Path) -> Result<(PathBuf, Vec<u8>), TrainError> {
    let mut packed = plain.as_os_str().to_owned();
    packed.push(".gz");
    let packed = PathBuf::from(packed);
    let path = if plain.exists() || !packed.exists() { plain.to_path_buf() } else { packed };
    let shown = path.display().to_string();
    let bytes = fs::read(&path).map_err(|source| TrainError::Io { path: shown.clone(), source })?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok((path, bytes));
    }
    let mut out = vec![];
    GzDecoder::new(&bytes[..]).read_to_end(&mut out).map_err(|e| TrainError::Data {
        path: shown,
        what: format!("cannot be unpacked ({e}): the file is truncated or damaged"),
    })?;
    Ok((path, out))
}

/// Sizes and data of an IDX file of bytes: magic 0, 0, 8 (unsigned byte), number of dimensions, sizes as big-endian u32, data.
fn idx(path: &Path, bytes: &[u8], dims: usize) -> Result<(Vec<usize>, usize), TrainError> {
    let wrong = |what: String| TrainError::Data { path: path.display().to_string(), what };
    let head = 4 + 4 * dims;
    let magic = [0, 0, 8, dims as u8];
    if bytes.len() >= 4 && bytes[..4] != magic {
        let found = &bytes[..4];
        return Err(wrong(format!("begins with {found:?}, an IDX file of {dims} dimensions with {magic:?}")));
    }
    if bytes.len() < head {
        return Err(wrong(format!("has {} bytes, the header alone takes {head}: truncated", bytes.len())));
    }
    let sizes: Vec<usize> = bytes[4..head]
        .chunks_exact(4)
        .map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize)
        .collect();
    let len = sizes.iter().try_fold(1usize, |n, s| n.checked_mul(*s)).and_then(|n| n.checked_add(head));
    if len != Some(bytes.len()) {
        let found = bytes.len();
        return Err(wrong(format!(
            "has {found} bytes, its header ({sizes:?}) asks for {}: truncated or damaged",
            len.map_or("too many".to_string(), |n| n.to_string())
        )));
    }
    Ok((sizes, head))
}

impl Images {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
    /// `prefix-images-idx3-ubyte` and `prefix-labels-idx1-ubyte` in a folder, each with or without `.gz`.
    pub fn read(folder: &Path, prefix: &str) -> Result<Self, TrainError> {
        let file = |what: &str| folder.join(format!("{prefix}-{what}-ubyte"));
        Self::open(&file("images-idx3"), &file("labels-idx1"))
    }
    /// Two IDX files, images and labels, each with or without `.gz`.
    pub fn open(images: &Path, labels: &Path) -> Result<Self, TrainError> {
        let (path, bytes) = read_packed(images)?;
        let (sizes, head) = idx(&path, &bytes, 3)?;
        let (label_path, labels) = read_packed(labels)?;
        let (counts, label_head) = idx(&label_path, &labels, 1)?;
        let wrong = |what: String| TrainError::Data { path: label_path.display().to_string(), what };
        if counts[0] != sizes[0] {
            return Err(wrong(format!("has {} labels for {} images", counts[0], sizes[0])));
        }
        let labels = labels[label_head..].to_vec();
        if let Some(i) = labels.iter().position(|l| *l > 9) {
            return Err(wrong(format!("label {i} is {}, not a digit", labels[i])));
        }
        Ok(Self { pixels: sizes[1] * sizes[2], data: bytes[head..].to_vec(), labels })
    }
    /// Images from..from + count; an error that names what they are for if there are not so many.
    pub fn part(&self, from: usize, count: usize, what: &str) -> Result<Self, TrainError> {
        if from + count > self.len() {
            let have = self.len();
            return Err(TrainError::config(format!(
                "{count} {what} images from number {from} on are asked for, the files have {have} images"
            )));
        }
        Ok(Self {
            pixels: self.pixels,
            data: self.data[from * self.pixels..(from + count) * self.pixels].to_vec(),
            labels: self.labels[from..from + count].to_vec(),
        })
    }

    /// Digits of seven segments on 28 x 28 pixels, moved, slanted, of varying size, stroke and brightness, with noise. Sample i depends on seed and i only.
    pub fn generated(count: usize, first: u64, seed: u64) -> Self {
        let mut images = Self { pixels: PIXELS, data: Vec::with_capacity(PIXELS * count), labels: vec![] };
        for i in 0..count {
            let mut rng = generator(seed, Stream::Data, first + i as u64);
            let label = rng.random_range(0..10u8);
            images.labels.push(label);
            draw(label, &mut rng, &mut images.data);
        }
        images
    }
}

/// Segments (top, top right, bottom right, bottom, bottom left, top left, middle) of 0 to 9.
const SEGMENTS: [u8; 10] = [0x3f, 0x06, 0x5b, 0x4f, 0x66, 0x6d, 0x7d, 0x07, 0x7f, 0x6f];
/// Ends of the segments on [0, 1] x [0, 2], y downwards.
const ENDS: [[f64; 4]; 7] = [
    [0.0, 0.0, 1.0, 0.0],
    [1.0, 0.0, 1.0, 1.0],
    [1.0, 1.0, 1.0, 2.0],
    [0.0, 2.0, 1.0, 2.0],
    [0.0, 1.0, 0.0, 2.0],
    [0.0, 0.0, 0.0, 1.0],
    [0.0, 1.0, 1.0, 1.0],
];

fn draw(label: u8, rng: &mut StdRng, out: &mut Vec<u8>) {
    let mut between = |a: f64, b: f64| a + (b - a) * rng.random::<f64>();
    let (width, height) = (between(7.0, 11.0), between(7.0, 9.0));
    let (x0, y0) = (between(6.0, 11.0), between(4.0, 8.0));
    let (slant, stroke, ink) = (between(-0.3, 0.3), between(1.0, 1.8), between(180.0, 255.0));
    let lines: Vec<[f64; 4]> = (0..7)
        .filter(|s| SEGMENTS[label as usize] >> s & 1 == 1)
        .map(|s| {
            let [ax, ay, bx, by] = ENDS[s];
            let x = |u: f64, v: f64| x0 + width * u + slant * height * (1.0 - v);
            [x(ax, ay), y0 + height * ay, x(bx, by), y0 + height * by]
        })
        .collect();
    for row in 0..28 {
        for column in 0..28 {
            let (px, py) = (column as f64, row as f64);
            let near = lines.iter().map(|l| distance(px, py, l)).fold(f64::INFINITY, f64::min);
            let value = ink * (1.0 - (near - stroke).max(0.0)).max(0.0) + between(0.0, 25.0);
            out.push(value.min(255.0) as u8);
        }
    }
}

fn distance(px: f64, py: f64, [ax, ay, bx, by]: &[f64; 4]) -> f64 {
    let (dx, dy) = (bx - ax, by - ay);
    let s = (((px - ax) * dx + (py - ay) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    ((px - ax - s * dx).powi(2) + (py - ay - s * dy).powi(2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffles_are_permutations_that_differ_by_epoch() {
        let a = shuffled(100, 3, 0);
        let mut sorted = a.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(a, shuffled(100, 3, 0));
        assert_ne!(a, shuffled(100, 3, 1));
        assert_ne!(a, shuffled(100, 4, 0));
    }

    #[test]
    fn generated_digits_do_not_depend_on_their_number() {
        let all = Images::generated(20, 0, 1);
        assert_eq!(all.part(5, 10, "some").unwrap(), Images::generated(10, 5, 1));
        assert!(all.part(15, 6, "test").unwrap_err().to_string().contains("the files have 20 images"));
        assert_eq!(all.data.len(), 20 * 784);
    }

    #[test]
    fn files_that_are_damaged() {
        use std::io::Write;
        let folder = std::env::temp_dir().join(format!("costate-idx-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let images = |n: u32| {
            let mut b = vec![0, 0, 8, 3];
            [n, 2, 3].iter().for_each(|v| b.extend(v.to_be_bytes()));
            b.extend((0..6 * n).map(|i| i as u8));
            b
        };
        let labels = |l: &[u8]| [&[0, 0, 8, 1][..], &(l.len() as u32).to_be_bytes(), l].concat();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
        let fails = |text: &str| {
            let error = Images::read(&folder, "x").unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        fails("x-images-idx3-ubyte: ");
        write("x-images-idx3-ubyte", &images(3));
        fails("x-labels-idx1-ubyte: ");
        write("x-labels-idx1-ubyte", &labels(&[1, 2, 9]));
        let good = Images::read(&folder, "x").unwrap();
        assert_eq!((good.pixels, good.len(), good.data[7]), (6, 3, 7));
        write("x-labels-idx1-ubyte", &labels(&[1, 2]));
        fails("has 2 labels for 3 images");
        write("x-labels-idx1-ubyte", &labels(&[1, 2, 10]));
        fails("label 2 is 10, not a digit");
        write("x-labels-idx1-ubyte", &images(3));
        fails("begins with [0, 0, 8, 3]");
        write("x-labels-idx1-ubyte", &labels(&[1, 2, 9]));
        for cut in [0, 3, 5, 15, 20, 33] {
            write("x-images-idx3-ubyte", &images(3)[..cut]);
            fails("truncated");
        }
        let mut huge = images(3);
        huge[4..16].fill(0xff);
        write("x-images-idx3-ubyte", &huge);
        fails("asks for too many");
        // The same through gzip, and a truncated gzip file.
        fs::remove_file(folder.join("x-images-idx3-ubyte")).unwrap();
        let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        packed.write_all(&images(3)).unwrap();
        let packed = packed.finish().unwrap();
        write("x-images-idx3-ubyte.gz", &packed);
        assert_eq!(Images::read(&folder, "x").unwrap(), good);
        write("x-images-idx3-ubyte.gz", &packed[..packed.len() - 10]);
        fails("truncated or damaged");
        fs::remove_dir_all(&folder).unwrap();
    }
}
