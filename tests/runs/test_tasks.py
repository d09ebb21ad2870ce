import pytest

from configs import tiny
from dhm.errors import BadInputError, DhmError
from dhm.runs import tasks


class _Unwanted:
    def records(self, config):
        raise AssertionError("the data were prepared")


@pytest.mark.parametrize("task", ["evaluate", "export"])
def test_nothing_is_prepared_for_a_run_that_cannot_start(tmp_path, task):
    with pytest.raises(DhmError, match="holds no checkpoint: train first"):
        tasks.run((task,), tiny.get_config(), tmp_path, _Unwanted())
    config = tiny.get_config()
    config.train.epochs = 0
    with pytest.raises(BadInputError, match=r"config\.train\.epochs: found 0"):
        tasks.run(("train", task), config, tmp_path, _Unwanted())
    assert not any(tmp_path.iterdir())


def test_an_export_by_the_workdir_alone_needs_a_run(tmp_path):
    with pytest.raises(BadInputError, match=r"config\.json: found no such file"):
        tasks.export(tmp_path, _Unwanted())
