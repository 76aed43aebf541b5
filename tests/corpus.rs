//! The fuzz targets, on the inputs that the repository keeps of them: what was found once stays mended.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

#[cfg(test)]
#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "in its own crate it is what programs call")]
mod targets;

/// Maximum size of an input, and number of inputs of a target: a corpus is read by people, too.
const LARGEST: usize = 4096;
const MOST: usize = 100;

#[test]
fn every_target_stands_every_input_of_its_corpus() -> Result<()> {
    let targets: [(&str, fn(&[u8])); 6] = [
        ("bridge", targets::bridge),
        ("codec", targets::codec),
        ("config", targets::config),
        ("message", targets::message),
        ("session", targets::session),
        ("split", targets::split),
    ];
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut programs = Vec::new();
    for program in fs::read_dir(fuzz.join("fuzz_targets"))? {
        programs.push(program?.file_name().into_string().unwrap_or_default());
    }
    programs.sort();
    let names = targets.map(|(name, _)| name);
    assert_eq!(programs, names.map(|name| format!("{name}.rs")));
    // They run there each night.
    let workflow = fs::read_to_string(fuzz.join("../.github/workflows/fuzz.yaml"))?;
    assert!(workflow.contains(&format!("target: [{}]", names.join(", "))));
    for (name, target) in targets {
        let folder = fuzz.join("corpus").join(name);
        let files = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        let inputs = files.map(|it| it.map(|it| it.path()));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let count = inputs.len();
        assert!((1..=MOST).contains(&count), "{name}: {count}");
        for path in inputs {
            let input = fs::read(&path)?;
            assert!(input.len() <= LARGEST, "{} is too large", path.display());
            // Shown only where the target fails.
            println!("{}", path.display());
            target(&input);
        }
    }
    Ok(())
}
