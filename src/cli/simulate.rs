//! `meantime simulate`: the same server and clients in a simulated world, faster than real time.
//!
//! It turns the options into a [`Scenario`], runs it, and reports the true errors of the clocks beside those
//! that the nodes state. The same seed gives the same run, to the last bit.

mod arguments;
mod events;
mod fault;
mod progress;
mod reference;
mod report;
mod samples;
mod scenario;
mod values;

use std::io::{self, BufWriter, Write};
use std::path::Path;

pub use arguments::SimulateArgs;

use super::Failure;
use arguments::ResultFormat;
use meantime_core::time::Span;
use meantime_sim::random_faults::Recoveries;
use meantime_sim::{Observer, ReportedEvent, Sample, Scenario, Simulation, Summary};
use progress::Progress;
use samples::Samples;

/// Runs a simulation and reports on it.
///
/// # Errors
/// When the options contradict one another, the results cannot be written, or a cluster of random faults did
/// not return to agreement.
pub fn run(args: &SimulateArgs) -> Result<(), Failure> {
    let (scenario, recoveries) = args.world()?;
    let samples = args.samples.as_deref().map(|path| create_samples(path, &scenario)).transpose()?;
    let mut observer = RunObserver {
        format: args.output,
        events: args.events,
        samples,
        recoveries,
        out: BufWriter::new(io::stdout()),
        failed: None,
    };
    let summary = simulate(&scenario, &mut observer);
    let seed = scenario.seed.0;
    let failed = observer.recoveries.as_ref().map_or(0, |recoveries| recoveries.failed.len());
    observer.finish(&scenario, &summary).map_err(cannot_write)?;
    if failed > 0 {
        return Err(Failure::Runtime(format!(
            "{failed} times the cluster of seed {seed} did not return to agreement"
        )));
    }
    if args.faults_seed.is_some() && summary.agreed[0].is_none() {
        return Err(Failure::Runtime(format!("the cluster of seed {seed} did not return to agreement")));
    }
    Ok(())
}

/// Runs a scenario in short pieces, to show the progress.
fn simulate(scenario: &Scenario, observer: &mut RunObserver) -> Summary {
    let mut simulation = Simulation::new(scenario);
    let mut progress = Progress::new(scenario.duration);
    let piece = scenario.duration.over(PIECES).max(scenario.sample);
    let mut at = Span::ZERO;
    while at < scenario.duration && observer.failed.is_none() {
        at = (at + piece).min(scenario.duration);
        simulation.run_until(at, observer);
        progress.show(at);
    }
    progress.clear();
    simulation.summary()
}

fn create_samples(path: &Path, scenario: &Scenario) -> Result<Samples, Failure> {
    Samples::create(path, scenario).map_err(|error| {
        let path = path.display();
        Failure::Runtime(format!("cannot write {path}: {error}; choose another file for --samples"))
    })
}

fn cannot_write(error: io::Error) -> Failure {
    Failure::Runtime(format!("cannot write the results: {error}"))
}

/// Writes events and samples during the run.
struct RunObserver {
    format: ResultFormat,
    events: bool,
    samples: Option<Samples>,
    recoveries: Option<Recoveries>,
    out: BufWriter<io::Stdout>,
    /// The first failure to write; the run ends early.
    failed: Option<io::Error>,
}

impl RunObserver {
    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }

    fn finish(mut self, scenario: &Scenario, summary: &Summary) -> io::Result<()> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let recoveries = self.recoveries.as_ref();
        match self.format {
            ResultFormat::Text => write!(self.out, "{}", report::text(scenario, summary, recoveries))?,
            ResultFormat::Json => writeln!(self.out, "{}", report::json(summary, recoveries))?,
        }
        if let Some(samples) = &mut self.samples {
            samples.flush()?;
        }
        self.out.flush()
    }
}

impl Observer for RunObserver {
    fn sampled(&mut self, sample: &Sample) {
        self.recoveries.iter_mut().for_each(|recoveries| recoveries.sampled(sample));
        let result = self.samples.as_mut().map_or(Ok(()), |samples| samples.write(sample));
        self.note(result);
    }

    fn reported(&mut self, happening: &ReportedEvent) {
        if !self.events {
            return;
        }
        let result = match (self.format, events::milestone(happening)) {
            (_, None) => Ok(()),
            (ResultFormat::Text, Some(milestone)) => writeln!(self.out, "{}", milestone.text()),
            (ResultFormat::Json, Some(milestone)) => writeln!(self.out, "{}", milestone.json()),
        };
        self.note(result);
    }
}

/// The number of pieces of a run, one per cent each.
const PIECES: i64 = 100;
