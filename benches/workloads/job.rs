//! What programs do with the files of a mount. Each job gives back the seconds of its readers, where it has several.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// Done with the files at these paths; for jobs that walk, the first path is the root.
pub(crate) type Job = Arc<dyn Fn(&[PathBuf]) -> io::Result<Vec<f64>> + Send + Sync>;

/// Bytes of a file: from where, how many.
pub(crate) type Piece = (u64, u64);

/// The first file from front to end.
pub(crate) fn through() -> Job {
    Arc::new(|paths| read_through(&paths[0]).map(|()| Vec::new()))
}

/// Pieces of the first file, in this order, shared out to so many threads.
pub(crate) fn pieces(pieces: Vec<Piece>, threads: usize) -> Job {
    Arc::new(move |paths| {
        let parts = pieces.chunks(pieces.len().div_ceil(threads));
        together(parts, |part| read_pieces(&paths[0], part))
    })
}

/// Every file from front to end, all at once.
pub(crate) fn all_at_once() -> Job {
    Arc::new(|paths| together(paths.iter(), |path| read_through(path)))
}

/// A script with the root as its directory; what it prints is lost, and its exit status says nothing.
pub(crate) fn shell(script: &'static str) -> Job {
    Arc::new(move |paths| {
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).current_dir(&paths[0]);
        quiet(&mut bash).status().map(|_| Vec::new())
    })
}

/// `ffprobe`, and five seconds out of the middle by `ffmpeg`.
pub(crate) fn media() -> Job {
    Arc::new(|paths| {
        let mut probe = Command::new("ffprobe");
        probe.args(["-v", "error"]).arg(&paths[0]);
        let mut play = Command::new("ffmpeg");
        play.args(["-v", "error", "-ss", "300", "-t", "5", "-i"])
            .arg(&paths[0])
            .args(["-f", "null", "-"]);
        for command in [&mut probe, &mut play] {
            if !quiet(command).status()?.success() {
                return Err(io::Error::other("ffmpeg failed"));
            }
        }
        Ok(Vec::new())
    })
}

/// Brings the programs that jobs use back into the page cache: they are not what is measured.
pub(crate) fn load_programs() {
    let programs = "ls /; grep word /dev/null; ffprobe -version; ffmpeg -version";
    let mut bash = Command::new("bash");
    let _ = quiet(bash.args(["-c", programs])).status();
}

/// Reads a file from front to end.
pub(crate) fn read_through(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 512 << 10];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

fn read_pieces(path: &Path, pieces: &[Piece]) -> io::Result<()> {
    let file = File::open(path)?;
    for (start, length) in pieces {
        let mut buffer = vec![0; usize::try_from(*length).unwrap()];
        file.read_exact_at(&mut buffer, *start)?;
    }
    Ok(())
}

/// Each in a thread of its own.
fn together<T: Send>(
    parts: impl Iterator<Item = T>,
    read: impl Fn(T) -> io::Result<()> + Sync,
) -> io::Result<Vec<f64>> {
    let read = &read;
    std::thread::scope(|scope| {
        let readers: Vec<_> = parts
            .map(|part| {
                scope.spawn(move || {
                    let start = Instant::now();
                    read(part).map(|()| start.elapsed().as_secs_f64())
                })
            })
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect()
    })
}

fn quiet(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
}
