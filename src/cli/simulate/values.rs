//! Probabilities and ratios, as an operator types them.

/// Why a probability or a ratio cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RatioError {
    /// Not a number.
    #[error("not a number; type for example {0}")]
    NoNumber(&'static str),
    /// Outside of 0 to 1.
    #[error("a probability is between 0 and 1; for per cent type 20%")]
    NoProbability,
    /// More than any oscillator wanders.
    #[error("no oscillator wanders like that; between 0 and 1e-5, a common quartz 1e-9")]
    WanderTooLarge,
}

/// Parses a probability: `0.2` or `20%`.
pub(super) fn probability(text: &str) -> Result<f64, RatioError> {
    let (number, factor) = match text.strip_suffix('%') {
        Some(number) => (number, 0.01),
        None => (text, 1.0),
    };
    let value: f64 = number.trim().parse().map_err(|_| RatioError::NoNumber("0.2 or 20%"))?;
    match value * factor {
        p if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err(RatioError::NoProbability),
    }
}

/// Parses the random walk of a frequency, as a ratio per √s.
pub(super) fn wander(text: &str) -> Result<f64, RatioError> {
    match text.parse() {
        Ok(wander) if (0.0..=1e-5).contains(&wander) => Ok(wander),
        Ok(_) => Err(RatioError::WanderTooLarge),
        Err(_) => Err(RatioError::NoNumber("1e-9")),
    }
}
