import pytest

from configs import tiny
from dhm.errors import BadInputError, DhmError
from dhm.runs import tasks


@pytest.mark.parametrize("task", ["evaluate", "export"])
def test_nothing_is_prepared_for_a_run_that_cannot_start(tmp_path, monkeypatch, task):
    def unwanted(config):
        raise AssertionError("the data were prepared")

    monkeypatch.setattr(tasks, "prepared_data", unwanted)
    with pytest.raises(DhmError, match="holds no checkpoint: train first"):
        tasks.run((task,), tiny.get_config(), tmp_path)
    config = tiny.get_config()
    config.train.epochs = 0
    with pytest.raises(BadInputError, match=r"config\.train\.epochs: found 0"):
        tasks.run(("train", task), config, tmp_path)
    assert not any(tmp_path.iterdir())
