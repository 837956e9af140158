"""How long the first batch takes, and how fast numbers are read."""

import shutil
import time

import ml_collections

from data_pipelines import opening, survey
from data_pipelines.bad_records import BadRecords
from data_pipelines.measuring import data
from data_pipelines.windows import split_episodes


def first_batch_s(config: ml_collections.ConfigDict) -> float:
    """Seconds from opening to the first batch, where a survey of the data set is kept."""
    data.windows(config)
    began = time.perf_counter()
    next(data.windows(config).from_step(0))
    return time.perf_counter() - began


def survey_steps_per_s(config: ml_collections.ConfigDict) -> float:
    """Steps a CPU second of a whole pass for lengths and statistics; no frame is decoded."""
    (data_set,) = opening.open_source(config).data_sets
    train, _ = split_episodes(len(data_set), 0)
    shutil.rmtree(survey.folder(), ignore_errors=True)
    began = time.process_time()
    found = survey.survey(data_set, train, BadRecords("error"))
    return int(found.lengths.sum()) / (time.process_time() - began)
