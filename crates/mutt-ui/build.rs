//! Takes what `npm run build` left in web/dist (or in `MUTT_UI_DIST`) into the program. Builds
//! nothing itself and fetches nothing: where there is no build, there is none in the program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=MUTT_UI_DIST");
    println!("cargo::rerun-if-changed=build.rs");
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let dist =
        env::var_os("MUTT_UI_DIST").map_or_else(|| manifest.join("../../web/dist"), PathBuf::from);
    // Cargo takes a path that is not there for one that always changes.
    let _ = fs::create_dir_all(&dist);
    println!("cargo::rerun-if-changed={}", dist.display());

    // Copied: the next build of the interface empties web/dist while rustc may be reading.
    let copy = out.join("dist");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    let mut files = Vec::new();
    if dist.join("index.html").is_file() {
        collect(&dist, "", &copy, &mut files)?;
    }
    files.sort();
    let mut table = String::from("[\n");
    for path in &files {
        if [".br", ".gz"].iter().any(|packed| path.ends_with(packed)) {
            continue;
        }
        let bytes = |suffix: &str| {
            let path = format!("{path}{suffix}");
            let file = format!("{}{path}", copy.display());
            files
                .contains(&path)
                .then(|| format!("include_bytes!({file:?})"))
        };
        let packed =
            |suffix| bytes(suffix).map_or_else(|| "None".into(), |it| format!("Some({it})"));
        let _ = writeln!(
            table,
            "    File {{ path: {path:?}, plain: {}, brotli: {}, gzip: {} }},",
            bytes("").unwrap_or_default(),
            packed(".br"),
            packed(".gz"),
        );
    }
    table.push(']');
    fs::write(out.join("files.rs"), table)
}

/// Copies a directory; notes its files by their path, which begins with a slash.
fn collect(from: &Path, path: &str, to: &Path, files: &mut Vec<String>) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        // Names that a browser would have to escape are none of the build's.
        let Some(name) = name.to_str() else { continue };
        let path = format!("{path}/{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &path, &to.join(name), files)?;
        } else {
            fs::copy(entry.path(), to.join(name))?;
            files.push(path);
        }
    }
    Ok(())
}
