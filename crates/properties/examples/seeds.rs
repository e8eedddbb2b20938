//! Writes the seeds of a target into a folder: `cargo run --example seeds -- TARGET FOLDER`.
//! Without arguments, prints the targets' names.

use std::path::PathBuf;

use datakit_operator_properties::{Target, seeds};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::io::Write as _;

    let mut args = std::env::args_os().skip(1);
    let (Some(name), Some(folder)) = (args.next(), args.next().map(PathBuf::from)) else {
        let mut out = std::io::stdout();
        for target in Target::ALL {
            writeln!(out, "{}", target.name())?;
        }
        return Ok(());
    };
    let target = Target::ALL.iter().find(|target| name == target.name());
    let target = target.ok_or("no such target; without arguments their names are printed")?;
    std::fs::create_dir_all(&folder)?;
    for (number, seed) in seeds::of(*target)?.into_iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number:04}")), seed)?;
    }
    Ok(())
}
