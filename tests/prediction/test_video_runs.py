"""Videos among the files of a run: threads, workers, shards and runs that are killed write the same bytes."""

import signal
import time

import numpy as np
import pytest

from axial_deeplab.cli.main import main
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.prediction.frame_list import FrameList, SeenFrame
from axial_deeplab.prediction.merge import merge_shards
from folder_runs import contents, draw_photos, predict, start_predicting
from video_files import moving_square, write_clip

pytestmark = pytest.mark.filterwarnings("ignore:(no thing|scores are low|.*Mean of empty)")
NUM_FRAMES = 40
FRAMES = [
    SeenFrame(
        Panoptic(
            np.full((2, 3), 10_000 + number, np.int32),
            (Segment(id=10_000 + number, train_id=0, area=6, score=0.1 + number / 7, bbox=(0, 0, 3, 2)),),
        ),
        1.5,
        number / 3,
        number,
    )
    for number in range(3)
]


@pytest.fixture
def videos(tmp_path):
    """Draw two videos and a photo."""
    folder = tmp_path / "videos"
    draw_photos(folder, 1)
    for name in "ab":
        write_clip(folder / f"{name}.mp4", moving_square(NUM_FRAMES))
    return folder


@pytest.fixture
def straight(videos, tmp_path):
    """Return the files of an uninterrupted run."""
    _, num_seen = predict(videos, tmp_path / "straight")
    assert num_seen == 1 + 2 * NUM_FRAMES
    files = contents(tmp_path / "straight")
    assert sorted(files) == [
        *("overlay/a.mp4", "overlay/b.mp4", "overlay/p0.jpg"),
        *("panoptic.json", "panoptic/p0.png"),
    ]
    return files


def kill_at(process, path, num_bytes):
    """Kill a process as soon as a file has so many bytes."""
    while not (path.exists() and path.stat().st_size >= num_bytes):
        assert process.poll() is None, "it ended too soon"
        time.sleep(0.003)
    process.kill()
    process.wait()


def test_the_threads_do_not_matter(videos, straight, tmp_path, monkeypatch):
    monkeypatch.setattr("axial_deeplab.prediction.files._num_threads", lambda predictor: 3)
    report, _ = predict(videos, tmp_path / "out")
    assert report.num_frames == 2 * NUM_FRAMES
    assert contents(tmp_path / "out") == straight


def test_a_killed_run_goes_on_in_the_middle_of_a_video(videos, straight, tmp_path):
    out = tmp_path / "out"
    kept = out / "overlay" / "b.mp4.part"
    kill_at(start_predicting(videos, out), kept, 2500)
    assert (out / "overlay" / "a.mp4").exists()
    report, num_seen = predict(videos, out)
    assert 1 < num_seen < NUM_FRAMES
    assert (report.num_videos, report.num_frames) == (2, 2 * NUM_FRAMES)
    assert report.network_ms > 20
    assert contents(out) == straight


def test_nothing_is_taken_over_for_other_weights_or_another_video(videos, straight, tmp_path):
    out = tmp_path / "out"
    for level, name in ((60, "a"), (128, "b")):
        kill_at(start_predicting(videos, out, level), out / "overlay" / f"{name}.mp4.part", 2000)
    write_clip(videos / "a.mp4", moving_square(NUM_FRAMES + 1))
    _, num_seen = predict(videos, out)
    assert NUM_FRAMES < num_seen < 2 * NUM_FRAMES
    write_clip(videos / "a.mp4", moving_square(NUM_FRAMES))
    predict(videos, tmp_path / "other")
    assert contents(out)["overlay/b.mp4"] == straight["overlay/b.mp4"]


def test_a_second_run_into_the_folder_is_refused(videos, tmp_path):
    out = tmp_path / "out"
    process = start_predicting(videos, out)
    try:
        while not (out / "overlay" / "a.mp4.part").exists():
            assert process.poll() is None
            time.sleep(0.003)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(ValueError, match=r"by one run at a time, got .*a\.mp4\.part in use; wait"):
            predict(videos / "a.mp4", out)
    finally:
        process.kill()
        process.wait()


def test_shards(videos, straight, tmp_path):
    out = tmp_path / "out"
    process = start_predicting(videos, out, shard=(1, 2))
    kill_at(process, out / "overlay" / "a.mp4.part", 2000)
    _, num_seen = predict(videos, out, shard=(1, 2))
    assert num_seen < NUM_FRAMES
    assert predict(videos, out, shard=(1, 2))[1] == 0
    predict(videos, out, shard=(2, 2))
    report = merge_shards(out)
    assert (report.num_images, report.num_videos, report.num_frames) == (1, 2, 2 * NUM_FRAMES)
    assert contents(out) == straight


def test_workers(videos, straight, tmp_path):
    pytest.importorskip("distributed", reason="needs the extra dask")
    report, num_seen = predict(videos, tmp_path / "out", workers=2)
    assert (report.num_frames, num_seen) == (2 * NUM_FRAMES, 0)
    assert contents(tmp_path / "out") == straight


def test_a_video_that_cannot_be_read_leaves_nothing(tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"no video" * 50)
    words = ["predict", str(tmp_path / "a.mp4"), "--weights", "axial_deeplab_nano_scenes"]
    assert main([*words, "--output", str(tmp_path / "out")]) == 2
    assert "a.mp4: invalid data found" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class TestFrameList:
    @pytest.fixture
    def path(self, tmp_path):
        with FrameList(tmp_path / "a.part", {"mark": "a"}) as frames:
            assert frames.read() is None
            for frame in FRAMES:
                frames.add(frame)
        return tmp_path / "a.part"

    def read(self, path, mark="a"):
        with FrameList(path, {"mark": mark}) as frames:
            assert frames.report() is None
            return list(iter(frames.read, None))

    def test_gives_what_was_kept(self, path):
        found = self.read(path)
        assert [frame[1:] for frame in found] == [frame[1:] for frame in FRAMES]
        for kept, frame in zip(found, FRAMES, strict=True):
            np.testing.assert_array_equal(kept.result.map, frame.result.map)
            assert kept.result.map.dtype == np.int32
            assert kept.result.segments[0].score == frame.result.segments[0].score

    def test_cut_anywhere(self, path):
        content = path.read_bytes()
        for num_bytes in range(len(content)):
            path.write_bytes(content[:num_bytes])
            found = self.read(path)
            assert len(found) <= 2
            with FrameList(path, {"mark": "a"}) as frames:
                for _ in range(len(found) + 1):
                    frames.read()
                for frame in FRAMES[len(found) :]:
                    frames.add(frame)
            assert path.read_bytes() == content

    def test_of_another_run_or_damaged(self, path):
        content = path.read_bytes()
        assert self.read(path, mark="b") == []
        line = content.index(b"\n") + 1
        for damage in (b"null\n", b"{}\n", b'{"bytes": 1e9}\n', b'{"bytes": "a"}\n', b"[]\n", b"\xff\n"):
            path.write_bytes(content[:line] + damage + content[line:])
            assert self.read(path) == []

    def test_a_report_takes_the_place_of_the_frames(self, path):
        with FrameList(path, {"mark": "a"}) as frames:
            frames.finish({"num_frames": 3})
        with FrameList(path, {"mark": "a"}) as frames:
            assert frames.report() == {"num_frames": 3}
            assert frames.read() is None
        assert path.stat().st_size < 60
