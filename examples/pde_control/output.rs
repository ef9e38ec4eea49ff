//! Fields as pictures and files.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use costate::pde::{Grid, write_npy, write_vtk};

use crate::{Arguments, Outcome};

/// Blue, white, red for fields of both signs; otherwise dark to bright. Five colours, between which is interpolated.
const BOTH: [[f64; 3]; 5] = [
    [33.0, 60.0, 140.0],
    [120.0, 170.0, 215.0],
    [247.0, 247.0, 247.0],
    [235.0, 150.0, 110.0],
    [150.0, 20.0, 40.0],
];
const ONE: [[f64; 3]; 5] =
    [[68.0, 1.0, 84.0], [59.0, 82.0, 139.0], [33.0, 145.0, 140.0], [94.0, 201.0, 98.0], [253.0, 231.0, 37.0]];
/// Pixels of a picture, at least.
const SIDE: usize = 256;

/// Writes each field of nx x ny numbers, the first axis fastest and upward the second, as NAME.png; prints its range.
fn pictures(folder: &Path, shape: [usize; 2], fields: &[(&str, &[f64])]) -> Outcome {
    let [nx, ny] = shape;
    let scale = SIDE.div_ceil(nx.max(ny)).max(1);
    let (width, height) = (nx * scale, ny * scale);
    for (name, values) in fields {
        let (low, high) =
            values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        let both = low < 0.0 && high > 0.0;
        let (from, to) = if both { (-high.max(-low), high.max(-low)) } else { (low, high) };
        let colours = if both { BOTH } else { ONE };
        let mut pixels = Vec::with_capacity(width * height * 3);
        for row in (0..height).rev() {
            for column in 0..width {
                let v = values[row / scale * nx + column / scale];
                let t = if to > from { (v - from) / (to - from) * 4.0 } else { 2.0 };
                let at = (t as usize).min(3);
                let t = (t - at as f64).clamp(0.0, 1.0);
                pixels.extend(
                    (0..3).map(|c| (colours[at][c] + t * (colours[at + 1][c] - colours[at][c])) as u8),
                );
            }
        }
        let file = BufWriter::new(File::create(folder.join(format!("{name}.png")))?);
        let mut encoder = png::Encoder::new(file, width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header()?.write_image_data(&pixels)?;
        println!("{name}: from {low:.4e} to {high:.4e}");
    }
    Ok(())
}

/// Fields on the unknowns or cells of a grid, where --out asks for them. Of three dimensions the picture is the plane in the middle.
pub fn write(arguments: &Arguments, grid: &Grid, fields: &[(&str, &[f64])]) -> Outcome {
    let Some(folder) = &arguments.out else { return Ok(()) };
    std::fs::create_dir_all(folder)?;
    let count = fields.first().map_or(0, |f| f.1.len());
    let shape = if count == grid.unknowns() {
        grid.shape()
    } else {
        std::array::from_fn(|a| grid.axes().get(a).map_or(1, |x| x.cells))
    };
    let [nx, ny, nz] = shape;
    for (name, values) in fields {
        let dimensions: &[usize] = match grid.axes().len() {
            1 => &[nx],
            2 => &[ny, nx],
            _ => &[nz, ny, nx],
        };
        write_npy(&folder.join(format!("{name}.npy")), dimensions, values)?;
    }
    write_vtk(&folder.join("fields.vtk"), grid, fields)?;
    let middle = nz / 2 * nx * ny;
    let planes: Vec<(&str, &[f64])> =
        fields.iter().map(|(name, v)| (*name, &v[middle..middle + nx * ny])).collect();
    pictures(folder, [nx, ny], &planes)
}

/// A field over space (upward) and time, as a picture and npy.
pub fn write_in_time(arguments: &Arguments, nodes: usize, fields: &[(&str, &[f64])]) -> Outcome {
    let Some(folder) = &arguments.out else { return Ok(()) };
    std::fs::create_dir_all(folder)?;
    let mut turned = Vec::new();
    for (name, values) in fields {
        let steps = values.len() / nodes;
        write_npy(&folder.join(format!("{name}.npy")), &[steps, nodes], values)?;
        let field: Vec<f64> = (0..values.len()).map(|q| values[q % steps * nodes + q / steps]).collect();
        turned.push((*name, field, steps));
    }
    for (name, field, steps) in &turned {
        pictures(folder, [*steps, nodes], &[(name, field)])?;
    }
    Ok(())
}
