"""metrics.csv is continued exactly."""

from pathlib import Path

from lazy_modules import LazyModule

metrics_file = LazyModule("axial_deeplab.training.metrics_file")


def test_resumed_run_replaces_what_it_repeats(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    first = metrics_file.MetricsFile(path, ("loss", "PQ"))
    for step in range(4):
        first.log_metrics({"loss": step / 2, "epoch": 0}, step)
    with path.open("a") as file:
        file.write("4,0.")  # cut short by a kill
    resumed = metrics_file.MetricsFile(path, ("loss", "PQ"), first_step=2)
    resumed.log_metrics({"loss": 9.0}, 2)
    resumed.log_metrics({"PQ": 61.25}, 2)
    resumed.log_metrics({"epoch": 0}, 3)
    assert path.read_text().split() == ["step,loss,PQ", "0,0,", "1,0.5,", "2,9,", "2,,61.25"]


def test_new_run_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,other\n0,1\n")
    metrics_file.MetricsFile(path, ("loss",)).log_metrics({"loss": 1}, 0)
    assert path.read_text().split() == ["step,loss", "0,1"]
