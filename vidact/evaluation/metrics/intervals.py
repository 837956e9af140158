"""How sure a success rate is."""

import scipy.stats

CONFIDENCE = 0.95


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a rate, without continuity correction.

    Args:
      successes: 0 <= successes <= trials.
      trials: at least 1.
      confidence: of the two-sided interval, in (0, 1).

    Returns:
      Lower and upper end, in [0, 1].
    """
    test = scipy.stats.binomtest(successes, trials)
    interval = test.proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)
