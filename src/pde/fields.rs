//! Fields on a grid as files: npy for numpy, legacy VTK for ParaView and VisIt.
//!
//! Both formats are a short header before the numbers. The crates that write them were looked at: npyz 0.8 brings a parser generator and a C build for
//! its header, vtkio has had no release since its 0.7 candidates.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::grid::Grid;
use crate::error::Error;

fn written(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<(), Error> {
    File::create(path)
        .and_then(|file| {
            let mut out = BufWriter::new(file);
            write(&mut out)?;
            out.flush()
        })
        .map_err(|source| Error::Io { path: path.display().to_string(), source })
}

/// Writes numbers as an array of the given shape, last index fastest: npy 1.0, little-endian doubles.
///
/// # Errors
/// [`Error::Problem`] where the shape does not have as many entries, [`Error::Io`] where the file cannot be written.
pub fn write_npy(path: &Path, shape: &[usize], values: &[f64]) -> Result<(), Error> {
    if shape.iter().product::<usize>() != values.len() {
        let what = format!("{} numbers for the shape {shape:?}", values.len());
        return Err(Error::Problem { name: "npy".into(), what });
    }
    let sizes: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({sizes}), }}");
    // Magic, version and length take 10 bytes; the numbers begin at a multiple of 64.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    written(path, |out| {
        out.write_all(b"\x93NUMPY\x01\x00")?;
        out.write_all(&(header.len() as u16).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        values.iter().try_for_each(|v| out.write_all(&v.to_le_bytes()))
    })
}

/// Writes fields on the unknowns, or on the cells of the grid, as a legacy VTK file of points (binary, version 3.0).
///
/// # Errors
/// [`Error::Problem`] for a field that has neither a number for each unknown nor for each cell, or a name with blanks; [`Error::Io`] where the file cannot
/// be written.
pub fn write_vtk(path: &Path, grid: &Grid, fields: &[(&str, &[f64])]) -> Result<(), Error> {
    let fail = |what: String| Err(Error::Problem { name: "vtk".into(), what });
    let cells: Vec<usize> = (0..3).map(|a| grid.axes().get(a).map_or(1, |x| x.cells)).collect();
    let count = fields.first().map_or(grid.unknowns(), |f| f.1.len());
    let on_cells = count != grid.unknowns();
    for (name, values) in fields {
        if name.is_empty() || name.contains(char::is_whitespace) {
            return fail(format!("the field name '{name}', expected one word"));
        }
        if values.len() != count || (on_cells && count != grid.cells()) {
            return fail(format!(
                "field {name} has {} numbers for {} unknowns and {} cells, all fields on one of them",
                values.len(),
                grid.unknowns(),
                grid.cells()
            ));
        }
    }
    let shape = if on_cells { [cells[0], cells[1], cells[2]] } else { grid.shape() };
    let origin = if on_cells { grid.cell_position(0) } else { grid.position(0) };
    let spacing: [f64; 3] = std::array::from_fn(|a| grid.axes().get(a).map_or(1.0, |x| x.spacing()));
    written(path, |out| {
        let three = |v: [f64; 3]| format!("{} {} {}", v[0], v[1], v[2]);
        writeln!(out, "# vtk DataFile Version 3.0\nfields\nBINARY\nDATASET STRUCTURED_POINTS")?;
        writeln!(out, "DIMENSIONS {} {} {}", shape[0], shape[1], shape[2])?;
        writeln!(out, "ORIGIN {}\nSPACING {}\nPOINT_DATA {count}", three(origin), three(spacing))?;
        for (name, values) in fields {
            writeln!(out, "SCALARS {name} double 1\nLOOKUP_TABLE default")?;
            values.iter().try_for_each(|v| out.write_all(&v.to_be_bytes()))?;
            writeln!(out)?;
        }
        Ok(())
    })
}
