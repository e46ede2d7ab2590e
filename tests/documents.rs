//! Checks the documents: their commands run, the messages and options that they quote are the program's, and
//! their links lead to files and headings.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "commands are run in real time, and a free port is looked for"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long one command may take. The demo takes 25 s on a machine that does nothing else.
const MAX_COMMAND: Duration = Duration::from_secs(180);
/// How long the output of a command may lack what the document shows. Commands without effects are repeated
/// meanwhile.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Commands that only look; a first answer may come before the cluster has agreed.
const REPEATABLE: [&str; 2] = ["meantime status", "meantime check"];
/// Shorter parts of a quoted message prove nothing.
const MIN_FRAGMENT: usize = 4;

/// Options of cargo, systemd and scripts, which pages for users name too.
const OPTIONS_OF_OTHERS: [&str; 9] = [
    "--release",
    "--now",
    "--watch",
    "--seconds",
    "--bench",
    "--test",
    "--version",
    "--include-ignored",
    "--nocapture",
];

#[test]
fn the_commands_of_the_readme_run() {
    run_commands_of("README.md");
}

#[test]
fn the_commands_of_getting_started_run() {
    run_commands_of("docs/getting-started.md");
}

#[test]
fn messages_quoted_by_the_troubleshooting_page_are_those_of_the_program() {
    let page = read("docs/guide/troubleshooting.md");
    let sources: String = ["src", "crates/meantime-core/src"].iter().map(|folder| literals(folder)).collect();
    let quoted: Vec<String> = blocks(&page, "text").into_iter().flatten().collect();
    assert!(quoted.len() > 20, "the page quotes {} lines only", quoted.len());
    let unknown: Vec<&String> = quoted
        .iter()
        .filter(|line| {
            let mut fragments = line.split("...").filter(|fragment| fragment.trim().len() >= MIN_FRAGMENT);
            !fragments.all(|fragment| sources.contains(fragment.trim()))
        })
        .collect();
    assert!(unknown.is_empty(), "the program does not print these: {unknown:#?}");
}

#[test]
fn options_that_pages_for_users_name_are_the_programs() {
    let program = env!("CARGO_BIN_EXE_meantime");
    let output = |arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let overview = output(&["--help"]);
    let commands = overview.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let mut known: BTreeSet<String> = options(&overview);
    for command in commands.filter_map(|line| line.split_whitespace().next()) {
        known.append(&mut options(&output(&[command, "--help"])));
        // `members` has commands of its own.
        known.append(&mut options(&output(&[command, "remove", "--help"])));
    }
    assert!(known.len() > 50, "the help is understood: {known:?}");
    known.extend(OPTIONS_OF_OTHERS.map(str::to_owned));
    let folders = ["docs/guide/", "docs/explanation/", "docs/reference/"];
    let pages = ["README.md", "docs/getting-started.md", "docs/introduction.md", "docs/DESIGN.md"];
    let mut unknown = Vec::new();
    for page in documents() {
        if pages.contains(&page.as_str()) || folders.iter().any(|folder| page.starts_with(folder)) {
            unknown
                .extend(options(&read(&page)).difference(&known).map(|option| format!("{page}: {option}")));
        }
    }
    assert!(unknown.is_empty(), "no command has these options: {unknown:#?}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for page in documents() {
        let text = without_code(&read(&page));
        for target in links(&text) {
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let found = match path {
                "" => PathBuf::from(&page),
                path => normalized(&Path::new(&page).parent().unwrap().join(path)),
            };
            let exists = root().join(&found).exists();
            let is_page = found.extension().is_some_and(|ending| ending == "md");
            if !exists || (is_page && !anchor.is_empty() && !anchors(&read(&found)).contains(anchor)) {
                broken.push(format!("{page}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "these links lead nowhere: {broken:#?}");
}

#[test]
fn functions_that_pages_link_are_in_the_files_that_they_link() {
    let mut linked = 0;
    for page in documents() {
        let text = read(&page);
        // As in "`first_vote` in [`consensus/vote.rs`](../../crates/...)".
        for (start, _) in text.match_indices("` in [`") {
            let name = text[..start].rsplit('`').next().unwrap();
            let name = name.rsplit("::").next().unwrap();
            let target = text[start..].split_once("](").unwrap().1.split_once(')').unwrap().0;
            let file = normalized(&Path::new(&page).parent().unwrap().join(target));
            assert!(read(&file).contains(&format!("fn {name}(")), "{page}: no {name} in {}", file.display());
            linked += 1;
        }
    }
    assert!(linked >= 4, "only {linked} functions are linked");
}

#[test]
fn files_that_documents_name_are_there() {
    // Where the short names of the pages about the core begin.
    let roots = ["", "crates/meantime-core/src", "crates/meantime-core/src/estimation/discipline"];
    let mut missing = Vec::new();
    // The changelog speaks of the past.
    for page in documents().into_iter().filter(|page| page != "CHANGELOG.md") {
        for name in read(&page).split('`').skip(1).step_by(2).filter(|name| is_file_name(name)) {
            if !roots.iter().any(|start| root().join(start).join(name).exists()) {
                missing.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "these files do not exist: {missing:#?}");
}

/// Runs every command of the `console` blocks of a document, in order, in one shell and one directory. A
/// command is a line that begins with `$ `; it must succeed, and the lines after it must be in its output,
/// apart from their figures. A command that ends with `&` goes on in the background. Blocks with the fence
/// `text` are not run: they need other machines, root, or the whole repository.
fn run_commands_of(document: &str) {
    let steps = steps(&read(document));
    assert!(!steps.is_empty(), "{document} has no commands");
    let mut shell = Shell::start();
    let mut running = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        if step.command.ends_with('&') {
            running.push((number, step));
            shell.begin(number, &step.command);
            // The next command may need what this one opens.
            shell.await_words(number, &step.shown[..step.shown.len().min(1)], &step.command);
            continue;
        }
        // What runs in the background must have been seen before it is ended.
        if step.command.starts_with("kill ") {
            check_all(&shell, running.drain(..));
        }
        shell.run(number, step);
    }
    check_all(&shell, running.drain(..));
}

fn check_all<'a>(shell: &Shell, running: impl Iterator<Item = (usize, &'a Step)>) {
    for (number, step) in running {
        shell.await_words(number, &step.shown, &step.command);
    }
}

/// A command of a document, and the output that the document shows.
struct Step {
    command: String,
    shown: Vec<String>,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in blocks(text, "console").into_iter().flatten() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_owned(), shown: Vec::new() }),
            (None, Some(step)) => step.shown.push(line),
            (None, None) => panic!("output without a command: {line}"),
        }
    }
    steps
}

/// A shell in a directory of its own, in which the program is `meantime` and the port of the documents a free
/// one.
struct Shell {
    directory: tempfile::TempDir,
    port: u16,
    bash: Child,
    commands: ChildStdin,
}

impl Shell {
    fn start() -> Shell {
        let directory = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_meantime"));
        std::os::unix::fs::symlink(root().join("scripts"), directory.path().join("scripts")).unwrap();
        let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash")
            .current_dir(directory.path())
            .envs([("PATH", path.as_str()), ("MEANTIME", program.to_str().unwrap())])
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut commands = bash.stdin.take().unwrap();
        // Ends the programs in the background as soon as this test ends in whatever way.
        writeln!(commands, "trap 'kill $(jobs -p) 2>/dev/null' EXIT").unwrap();
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Shell { directory, port, bash, commands }
    }

    fn file(&self, what: &str, number: usize) -> PathBuf {
        self.directory.path().join(format!("{what}.{number}"))
    }

    fn begin(&mut self, number: usize, command: &str) {
        let command = command.replace("5525", &self.port.to_string());
        let command = command.trim_end_matches('&');
        writeln!(self.commands, "{command} >output.{number} 2>&1 </dev/null &").unwrap();
    }

    fn run(&mut self, number: usize, step: &Step) {
        let repeatable = REPEATABLE.iter().any(|start| step.command.starts_with(start));
        let started = Instant::now();
        loop {
            let code = self.run_once(number, &step.command);
            let output = self.output(number);
            let missing = missing_lines(&step.shown, &output);
            if code == "0" && missing.is_empty() {
                return;
            }
            assert!(
                repeatable && started.elapsed() < MAX_WAIT,
                "`{}` ended with {code}, without {missing:#?} in:\n{output}",
                step.command
            );
            sleep(Duration::from_millis(300));
        }
    }

    /// Runs a command to its end, and returns its exit code.
    fn run_once(&mut self, number: usize, command: &str) -> String {
        let command = command.replace("5525", &self.port.to_string());
        let code = self.file("code", number);
        let _ = fs::remove_file(&code);
        writeln!(
            self.commands,
            "{{ {command}\n}} >output.{number} 2>&1 </dev/null; echo $? >code.tmp; mv code.tmp code.{number}"
        )
        .unwrap();
        let started = Instant::now();
        while !code.exists() {
            assert!(
                started.elapsed() < MAX_COMMAND,
                "`{command}` does not end; so far:\n{}",
                self.output(number)
            );
            sleep(Duration::from_millis(20));
        }
        fs::read_to_string(code).unwrap().trim().to_owned()
    }

    fn await_words(&self, number: usize, shown: &[String], command: &str) {
        let started = Instant::now();
        loop {
            let output = self.output(number);
            let missing = missing_lines(shown, &output);
            if missing.is_empty() {
                return;
            }
            assert!(started.elapsed() < MAX_WAIT, "`{command}` lacks {missing:#?} in:\n{output}");
            sleep(Duration::from_millis(50));
        }
    }

    fn output(&self, number: usize) -> String {
        fs::read_to_string(self.file("output", number)).unwrap_or_default()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = writeln!(self.commands, "exit");
        let started = Instant::now();
        while matches!(self.bash.try_wait(), Ok(None)) && started.elapsed() < Duration::from_secs(5) {
            sleep(Duration::from_millis(20));
        }
        let _ = self.bash.kill();
        let _ = self.bash.wait();
    }
}

/// The shown lines that are not in the output, whatever their figures.
fn missing_lines(shown: &[String], output: &str) -> Vec<String> {
    let shown = shown.iter().filter(|line| !line.trim().is_empty() && line.as_str() != "...");
    shown
        .filter(|line| {
            let wanted = fixed_words(line);
            !output.lines().any(|line| is_subsequence(&wanted, &fixed_words(line)))
        })
        .cloned()
        .collect()
}

/// The words of a line but those with digits and those that depend on the figures: units, and what was done
/// to a clock.
fn fixed_words(line: &str) -> Vec<String> {
    const DEPENDENT: [&str; 7] = ["ns", "µs", "ms", "s", "min", "step", "slew"];
    line.split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|word| !word.is_empty() && !word.contains(|c: char| c.is_ascii_digit()))
        .filter(|word| !DEPENDENT.contains(word))
        .map(str::to_owned)
        .collect()
}

fn is_subsequence(wanted: &[String], words: &[String]) -> bool {
    let mut words = words.iter();
    wanted.iter().all(|wanted| words.any(|word| word == wanted))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks of a page with this fence, as lines.
fn blocks(text: &str, fence: &str) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let block = lines.by_ref().take_while(|line| *line != "```").map(str::to_owned).collect();
            if kind == fence {
                blocks.push(block);
            }
        }
    }
    blocks
}

fn without_code(text: &str) -> String {
    let mut outside = true;
    let keep = text.lines().filter(|line| {
        outside ^= line.starts_with("```");
        outside
    });
    keep.collect::<Vec<_>>().join("\n")
}

/// The string literals of all sources in a folder: the text without what breaks a literal over lines.
fn literals(folder: &str) -> String {
    let mut all = String::new();
    for path in files(&root().join(folder)) {
        if path.extension().is_some_and(|ending| ending == "rs") {
            let mut parts = fs::read_to_string(path).unwrap();
            // A backslash at the end of a line continues the literal after the next line's indentation.
            while let Some(start) = parts.find("\\\n") {
                let end = start + 2 + (parts[start + 2..].len() - parts[start + 2..].trim_start().len());
                parts.replace_range(start..end, "");
            }
            all += &parts.replace("\\\"", "\"");
        }
    }
    all
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The pages of the repository, as paths below its root.
fn documents() -> Vec<String> {
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    top.filter(|path| path.is_file())
        .chain(files(&root().join("docs")))
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// The targets of a page's links that are neither addresses of the web nor e-mail.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://") && !target.contains(' ')).map(str::to_owned).collect()
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let text = without_code(text);
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
    headings
        .map(|heading| {
            let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect()
}

/// The long options that a text names.
fn options(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
    let named = words.filter(|word| word.starts_with("--") && word.trim_matches('-').len() > 1);
    named.filter(|word| !word.starts_with("---")).map(|word| word.trim_end_matches('-').to_owned()).collect()
}

/// Resolves `..` in a path below the root.
fn normalized(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => assert!(result.pop(), "{} leaves the repository", path.display()),
            Component::CurDir => {}
            other => result.push(other),
        }
    }
    result
}

/// Whether a word in code type names a file of the repository, such as `tests/documents.rs`.
fn is_file_name(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let ending =
        [".rs", ".py", ".sh", ".md", ".toml", ".service"].iter().any(|ending| name.ends_with(ending));
    let placed = name.contains('/') && !name.starts_with('/');
    plain
        && ((ending && placed)
            || ["scripts/", "contrib/", "crates/"].iter().any(|start| name.starts_with(start)))
}
