"""Open X-Embodiment: a table of data sets, the oddities that it names, and published mixtures."""
