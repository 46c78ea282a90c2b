//! Every byte through every way of reading that Linux has, compared with what the server would send.

#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod common;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use common::{Mount, MountBuilder, Server, can_mount};
use interactionfs::emulator::GeneratedSpec;

fn server() -> Server {
    Server::generated(GeneratedSpec {
        interactions: 12,
        days: 6,
        recording_bytes: 700_001,
        big_recordings: vec![9_000_003, 30_000_000],
        transcript_bytes: 20_000,
        screen_bytes: 5_000_001,
        ..GeneratedSpec::default()
    })
}

/// Every content file of the tree, with the GUID and the key it stands for.
fn content_files(mount: &Mount) -> Vec<(PathBuf, String, String)> {
    mount
        .shell("find . -mindepth 2 -type f ! -name interaction.json")
        .lines()
        .map(|line| {
            let path = mount.path(&line[2..]);
            let key = mount.shell(&format!(
                "getfattr --only-values -n user.vcc.content_key {line}"
            ));
            (path, line[2..38].to_owned(), key)
        })
        .collect()
}

#[test]
fn whole_files_by_every_program() {
    if !can_mount() {
        return;
    }
    let server = server();
    let mount = Mount::of(&server);
    let scratch = mount.scratch();
    mount.shell("mkdir $SCRATCH/cp && cp -r . $SCRATCH/cp/");
    mount.shell("rsync -a ./ $SCRATCH/rsync/");
    mount.shell("mkdir $SCRATCH/tar && tar cf - . | tar xf - -C $SCRATCH/tar");
    let files = content_files(&mount);
    assert_eq!(files.len(), 36);
    for (path, guid, key) in &files {
        let expected = server.expected(guid, key);
        let below = path.strip_prefix(mount.root()).unwrap();
        assert!(std::fs::read(path).unwrap() == expected, "read of {key}");
        for copy in ["cp", "rsync", "tar"] {
            let bytes = std::fs::read(scratch.join(copy).join(below)).unwrap();
            assert!(bytes == expected, "{copy} of {key}");
        }
        let by_cat = mount
            .shell_output(&format!("cat {}", path.display()))
            .stdout;
        assert!(by_cat == expected, "cat of {key}");
    }
    let again = mount.shell("rsync -an --itemize-changes ./ $SCRATCH/rsync/");
    assert_eq!(again, "", "rsync finds nothing to do");
}

#[test]
fn pieces_at_odd_offsets_and_by_unusual_calls() {
    if !can_mount() {
        return;
    }
    let server = server();
    // Cold for each way: what one way read is never what the next one finds.
    for way in ["dd", "direct", "mmap", "sendfile", "seek"] {
        let mount = MountBuilder::new(&server).mount();
        for (path, guid, key) in content_files(&mount) {
            let expected = server.expected(&guid, &key);
            let shown = path.display();
            match way {
                "dd" => {
                    let skip = expected.len() / 3 / 997;
                    let bytes = mount
                        .shell_output(&format!("dd if={shown} bs=997 skip={skip} status=none"))
                        .stdout;
                    assert!(bytes == expected[skip * 997..], "dd of {key}");
                }
                "direct" => {
                    let bytes = mount
                        .shell_output(&format!("dd if={shown} iflag=direct bs=1M status=none"))
                        .stdout;
                    assert!(bytes == expected, "O_DIRECT of {key}");
                }
                "mmap" => {
                    let bytes = mount
                        .shell_output(&format!(
                            "python3 -c \"import mmap,sys; f=open('{shown}','rb'); \
                             sys.stdout.buffer.write(mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ))\""
                        ))
                        .stdout;
                    assert!(bytes == expected, "mmap of {key}");
                }
                "sendfile" => {
                    // The standard library copies between files in the kernel.
                    let target = mount.scratch().join("copy");
                    let mut from = File::open(&path).unwrap();
                    let mut to = File::create(&target).unwrap();
                    std::io::copy(&mut from, &mut to).unwrap();
                    assert!(
                        std::fs::read(target).unwrap() == expected,
                        "sendfile of {key}"
                    );
                }
                _ => {
                    let mut file = File::open(&path).unwrap();
                    let middle = expected.len() / 2 + 1;
                    file.seek(SeekFrom::Start(middle as u64)).unwrap();
                    let mut tail = Vec::new();
                    file.read_to_end(&mut tail).unwrap();
                    assert!(tail == expected[middle..], "tail of {key}");
                    let mut head = vec![0; 13];
                    file.read_exact_at(&mut head, 7).unwrap();
                    assert!(head == expected[7..20], "head of {key}");
                    assert_eq!(file.read_at(&mut head, expected.len() as u64).unwrap(), 0);
                    assert_eq!(file.read_at(&mut head, u64::MAX >> 2).unwrap(), 0);
                }
            }
        }
        mount.unmount();
    }
}

#[test]
fn eight_readers_at_once() {
    if !can_mount() {
        return;
    }
    let server = server();
    let mount = MountBuilder::new(&server).option("--memory=8MiB").mount();
    let files = content_files(&mount);
    std::thread::scope(|scope| {
        for reader in 0..8_u64 {
            let files = &files;
            let server = &server;
            scope.spawn(move || {
                let mut random = reader.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                for (path, guid, key) in files {
                    let expected = server.expected(guid, key);
                    let file = File::open(path).unwrap();
                    for _ in 0..20 {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        let start = usize::try_from(random).unwrap() % expected.len();
                        let end = (start + 1 + usize::try_from(random >> 40).unwrap() % 300_000)
                            .min(expected.len());
                        let mut bytes = vec![0; end - start];
                        file.read_exact_at(&mut bytes, start as u64).unwrap();
                        assert!(bytes == expected[start..end], "{key} at {start}..{end}");
                    }
                }
            });
        }
    });
}

#[test]
fn media_programs_find_what_they_need() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let mount = Mount::of(&server);
    let call = "2480fc2c-bbd7-427c-9439-02f76583aef5";
    let duration = mount.shell(&format!(
        "ffprobe -v error -show_entries format=duration -of csv=p=0 {call}/callRecording.wav"
    ));
    let seconds: f64 = duration.trim().parse().unwrap();
    assert!((100.0..140.0).contains(&seconds), "{duration}");
    mount.shell(&format!(
        "ffmpeg -v error -ss 30 -t 5 -i {call}/callRecording.wav -f null -"
    ));
    mount.shell(&format!(
        "ffmpeg -v error -i {call}/screenRecording.webm -f null -"
    ));
}

#[test]
fn files_without_a_disk_cache_read_alike() {
    if !can_mount() {
        return;
    }
    let server = server();
    let mount = MountBuilder::new(&server)
        .option("--no-disk-cache")
        .option("--memory=16MiB")
        .mount();
    for (path, guid, key) in content_files(&mount) {
        assert!(
            std::fs::read(path).unwrap() == server.expected(&guid, &key),
            "{key}"
        );
    }
    assert!(!mount.cache().exists(), "nothing at all is written");
}
