//! Records of real processes: what is in them, what becomes of them when the disk is in the way, and their
//! pictures.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use support::{PATIENCE, Process, client, scratch, server, wait_until};

/// A table with the names of its columns.
struct Table {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn read(path: &Path) -> Table {
        let text = fs::read_to_string(path).unwrap();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let mut reader = csv::Reader::from_reader(whole.as_bytes());
        let names = reader.headers().unwrap().iter().map(String::from).collect();
        let rows = reader.records().map(|row| row.unwrap().iter().map(String::from).collect()).collect();
        Table { names, rows }
    }

    fn get<'a>(&self, row: &'a [String], name: &str) -> &'a str {
        let column = self.names.iter().position(|column| column == name);
        &row[column.unwrap_or_else(|| panic!("no column {name}"))]
    }

    /// Of the rows of this name the values in a column.
    fn of(&self, name: &str, column: &str) -> Vec<&str> {
        let rows = self.rows.iter().filter(|row| self.get(row, "name") == name);
        rows.map(|row| self.get(row, column)).collect()
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn plot(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meantime")).arg("plot").args(arguments).output().unwrap()
}

/// Draws, and fails if that fails.
fn drawn(arguments: &[&str]) {
    let output = plot(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
}

/// The one line with which a drawing failed.
fn refused(arguments: &[&str]) -> String {
    let output = plot(arguments);
    assert!(!output.status.success());
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.starts_with("meantime: ") && line.lines().count() == 1, "{line}");
    line
}

/// A server and two clients that have recorded for a while; alice has left before the end.
fn record(dir: &Path, arguments: &[&str], rounds: usize) {
    let file = text(&dir.join("server.csv"));
    let mut server =
        server("127.0.0.1:0", &[&["--interval", "100ms", "--record", &file], arguments].concat());
    let own = text(&dir.join("alice.csv"));
    let address = server.address();
    let mut alice = client(&address, "alice, \"1\"", &["--simulate-offset", "2.5s", "--record", &own]);
    let bob = client(&address, "bob", &["--simulate-drift", "40ppm"]);
    for client in [&alice, &bob] {
        client.wait_for("corrected", 0, |_| true);
    }
    let half = || {
        let before = server.events_of("round_ended").len();
        server.wait_for("round_ended", before + rounds / 2, |_| true);
    };
    half();
    // On a busy machine a round may be over before a client has answered.
    wait_until(PATIENCE, "alice and bob to be measured as often", || {
        let updates = server.events_of("updated");
        let of = |name: &str| updates.iter().filter(|update| update["client"] == name).count();
        of("alice, \"1\"").min(of("bob")) >= rounds / 2
    });
    assert!(alice.end(Signal::SIGTERM).0.success());
    half();
    assert!(server.end(Signal::SIGTERM).0.success());
}

#[test]
fn every_round_and_member_is_recorded_and_drawn() {
    let (_dir, dir) = scratch();
    record(&dir, &[], 30);
    let file = dir.join("server.csv");
    let table = Table::read(&file);
    let names: BTreeSet<_> = table.rows.iter().map(|row| table.get(row, "name")).collect();
    assert_eq!(names, BTreeSet::from(["alice, \"1\"", "bob", "server"]));

    let rounds: Vec<u32> = table.of("server", "round").iter().map(|round| round.parse().unwrap()).collect();
    assert!(rounds.len() >= 30 && rounds[0] == 1, "{rounds:?}");
    assert!(rounds.windows(2).all(|pair| pair[1] == pair[0] + 1), "a row for each round: {rounds:?}");
    for name in ["alice, \"1\"", "bob"] {
        let numbers = |column: &str| -> Vec<f64> {
            table.of(name, column).iter().filter_map(|value| value.parse().ok()).collect()
        };
        assert!(numbers("delay_ns").iter().all(|delay| (0.0..1e9).contains(delay)));
        let offsets = numbers("offset_ns");
        assert!(offsets.len() > 10 && offsets.last().unwrap().abs() < 100e6, "{name}: {offsets:?}");
        assert!(table.of(name, "vote").contains(&"in"));
        let states = table.of(name, "state");
        assert!(states.contains(&"unsynchronized") && states.contains(&"synchronized"), "{name}: {states:?}");
    }
    let drift: f64 = table.of("bob", "frequency_ppb").last().unwrap().parse().unwrap();
    assert!((-500_000.0..0.0).contains(&drift), "bob's clock is slowed down: {drift}");
    assert!(table.of("server", "outcome").contains(&"agreed"));
    assert!(table.of("bob", "outcome").iter().all(|outcome| outcome.is_empty()));

    let own = Table::read(&dir.join("alice.csv"));
    let offsets = own.of("alice, \"1\"", "offset_ns");
    assert!(
        offsets.iter().any(|offset| offset.parse::<f64>().is_ok_and(|offset| offset > 1e9)),
        "{offsets:?}"
    );

    picture_is_complete(&dir, &file);
    distance_to_utc_is_drawn(&dir, &file);
}

/// Draws the record as SVG and as PNG, and checks what is in the pictures.
fn picture_is_complete(dir: &Path, file: &Path) {
    let picture = dir.join("picture.svg");
    drawn(&[&text(file), "-o", &text(&picture)]);
    let svg = fs::read_to_string(&picture).unwrap();
    for said in [
        "alice, &quot;1&quot;",
        "bob",
        "server",
        "3 clocks",
        "time (UTC)",
        "round-trip delay, ",
        ", in ppm",
        "logarithmic",
    ] {
        assert!(svg.contains(said), "{said} is missing in {svg}");
    }
    // Of each member a line in the legend, and a line in each panel; the server has no delay.
    for (colour, lines) in [("#000000", 3), ("#0072B2", 4), ("#E69F00", 4)] {
        let of_colour = |line: &&str| {
            line.starts_with("<polyline") && line.contains(colour) && line.contains("stroke-width=\"2\"")
        };
        let count = svg.lines().filter(of_colour).count();
        assert!(count >= lines, "{count} lines are {colour}");
    }

    let picture = dir.join("picture.png");
    drawn(&[&text(file), "--output", &text(&picture)]);
    let png = fs::read(&picture).unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!((number(16), number(20)), (2560, 1920));
    // A blank one of this size has a tenth of that.
    assert!(png.len() > 60_000, "{} bytes", png.len());

    drawn(&[
        &text(file),
        "-o",
        &text(&picture),
        "--from",
        "2001-01-01 00:00",
        "--to",
        "2199-01-01T00:00:00Z",
    ]);
    let nothing = refused(&[&text(file), "-o", &text(&picture), "--to", "2001-01-01 00:00"]);
    assert!(nothing.contains("between these times"), "{nothing}");

    drawn(&[&text(&dir.join("alice.csv")), "-o", &text(&dir.join("alice.svg"))]);
    assert!(fs::read_to_string(dir.join("alice.svg")).unwrap().contains("1 clock,"));
}

/// Draws the record of a server without references, with and without a distance to UTC in its rows.
fn distance_to_utc_is_drawn(dir: &Path, file: &Path) {
    let table = Table::read(file);
    for column in ["utc_offset_ns", "utc_error_ns"] {
        assert!(table.rows.iter().all(|row| table.get(row, column).is_empty()), "{column}");
    }
    let led = dir.join("led.csv");
    let mut writer = csv::Writer::from_path(&led).unwrap();
    writer.write_record(&table.names).unwrap();
    for (n, mut row) in table.rows.into_iter().enumerate() {
        let columns = row.len();
        if row[3] == "server" {
            row[columns - 2] = format!("{}", -40_000_000 + 100_000 * n as i64);
            row[columns - 1] = "3000000".to_owned();
        }
        writer.write_record(&row).unwrap();
    }
    writer.flush().unwrap();
    let (without, with) = (dir.join("without.svg"), dir.join("with.svg"));
    drawn(&[&text(file), "-o", &text(&without)]);
    drawn(&[&text(&led), "-o", &text(&with)]);
    let (without, with) = (fs::read_to_string(without).unwrap(), fs::read_to_string(with).unwrap());
    assert!(!without.contains("minus UTC"));
    assert!(with.contains("the cluster&apos;s time minus UTC, with its maximum error, in ms"), "{with}");
    let bands = |svg: &str| svg.matches("<polygon opacity=\"0.15\"").count();
    assert_eq!((bands(&without), bands(&with)), (0, 1));
    drawn(&[&text(&led), "-o", &text(&dir.join("with.png"))]);
}

#[test]
fn old_files_are_kept_up_to_their_number_and_drawn_together() {
    let (_dir, dir) = scratch();
    record(&dir, &["--record-size", "4KiB", "--record-keep", "2"], 60);
    let files = ["server.csv", "server.csv.1", "server.csv.2"].map(|name| dir.join(name));
    assert!(!dir.join("server.csv.3").exists());
    let mut rounds = Vec::new();
    for file in files.iter().rev() {
        assert!(fs::metadata(file).unwrap().len() <= 4096);
        rounds.extend(
            Table::read(file).of("server", "round").iter().map(|round| round.parse::<u32>().unwrap()),
        );
    }
    assert!(
        rounds.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "nothing is lost between files: {rounds:?}"
    );
    let picture = text(&dir.join("all.svg"));
    let files = files.map(|file| text(&file));
    drawn(&[&files[0], &files[1], &files[2], "-o", &picture]);
    let svg = fs::read_to_string(&picture).unwrap();
    assert!(svg.contains(&format!("{} rounds", rounds.len())), "{} rounds: {svg}", rounds.len());
}

#[test]
fn a_full_disk_is_told_once_and_so_is_its_end() {
    let (_dir, dir) = scratch();
    let file = dir.join("record.csv");
    symlink("/dev/full", &file).unwrap();
    let mut server = server("127.0.0.1:0", &["--interval", "50ms", "--record", &text(&file)]);
    server.wait_for("round_ended", 40, |_| true);
    let told = |server: &Process| server.log().matches("record.csv").count();
    assert_eq!(told(&server), 1, "{}", server.log());
    assert!(server.log().contains("[WARN] cannot write the record "), "{}", server.log());
    fs::remove_file(&file).unwrap();
    wait_until(2 * PATIENCE, "the record to be written again", || {
        fs::read_to_string(&file).is_ok_and(|text| text.lines().count() > 10)
    });
    assert!(server.log().contains("record.csv is written again; "), "{}", server.log());
    assert_eq!(told(&server), 2, "{}", server.log());
    assert!(server.is_alive());
}

#[test]
fn a_directory_that_vanishes_stops_no_node() {
    let (_dir, dir) = scratch();
    let deep = dir.join("deep");
    fs::create_dir(&deep).unwrap();
    let file = deep.join("record.csv");
    let mut server = server("127.0.0.1:0", &["--interval", "50ms", "--record", &text(&file)]);
    server.wait_for("round_ended", 3, |_| true);
    // In one step: the server may be about to make its file anew.
    fs::rename(&deep, dir.join("away")).unwrap();
    let before = server.events_of("round_ended").len();
    server.wait_for("round_ended", before + 40, |_| true);
    assert_eq!(server.log().matches("record.csv").count(), 1, "{}", server.log());
    assert!(server.end(Signal::SIGTERM).0.success());
}

#[test]
fn where_nothing_can_be_recorded_the_server_says_so_and_does_not_start() {
    let (_dir, dir) = scratch();
    let other = dir.join("other.csv");
    fs::write(&other, "time,offset\n1,2\n").unwrap();
    let paths = [dir.clone(), dir.join("gone").join("record.csv"), other.clone()];
    for (path, why) in paths.iter().zip(["not a file", "No such file", "other columns"]) {
        let mut server = server("127.0.0.1:0", &["--record", &text(path)]);
        assert_eq!(server.wait(PATIENCE).code(), Some(1));
        let log = server.log();
        assert!(
            log.lines().last().is_some_and(|line| line.starts_with("meantime: cannot write the record "))
        );
        assert!(log.contains(why), "{log}");
    }
    assert_eq!(fs::read_to_string(other).unwrap(), "time,offset\n1,2\n");
    let mut unused = server("127.0.0.1:0", &["--record-keep", "3"]);
    assert_eq!(unused.wait(PATIENCE).code(), Some(2));
}

#[test]
fn what_cannot_be_drawn_is_told_in_one_line() {
    let (_dir, dir) = scratch();
    record(&dir, &[], 10);
    let file = text(&dir.join("server.csv"));
    let picture = text(&dir.join("picture.svg"));
    assert!(refused(&[&file, "-o", "picture.gif"]).contains("neither .svg nor .png"));
    assert!(refused(&[&file]).contains("--output"));
    let nowhere = text(&dir.join("gone").join("picture"));
    for ending in ["svg", "png"] {
        let line = refused(&[&file, "-o", &format!("{nowhere}.{ending}")]);
        assert!(line.contains("cannot draw") && line.contains("No such file"), "{line}");
    }
    assert!(refused(&[&text(&dir.join("gone.csv")), "-o", &picture]).contains("No such file"));
    assert!(refused(&[&text(&dir), "-o", &picture]).contains("cannot read the record"));

    let all = fs::read(&file).unwrap();
    let cut = dir.join("cut.csv");
    fs::write(&cut, &all[..all.len() - 30]).unwrap();
    drawn(&[&text(&cut), "-o", &picture]);
    fs::write(&cut, [&all[..], b"1,2,3\n"].concat()).unwrap();
    assert!(refused(&[&text(&cut), "-o", &picture]).contains("has 3 columns instead of 26"));
    let names = all.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(&cut, &all[..names]).unwrap();
    assert!(refused(&[&text(&cut), "-o", &picture]).contains("nothing to draw"));
    fs::write(&cut, "a,b\n1,2\n").unwrap();
    assert!(refused(&[&text(&cut), "-o", &picture]).contains("not those of a record"));
}
