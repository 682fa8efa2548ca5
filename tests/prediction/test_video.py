"""Videos: overlays of the same size and times, stable colors, constant memory, one line for broken files."""

import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from axial_deeplab.cli.main import main
from axial_deeplab.prediction.files import predict_files
from axial_deeplab.prediction.video import predict_video
from axial_deeplab.prediction.video_files import DamagedVideoError, VideoReader
from video_files import draw_square, moving_square, red_square_predictor, turn, write_clip


@pytest.fixture
def predictor():
    return red_square_predictor()


def read(path):
    with VideoReader(path) as reader:
        frames = list(reader)
    assert reader.damage is None
    return reader, frames


class TestPredictVideo:
    def test_same_size_rate_and_times(self, predictor, tmp_path):
        clip = write_clip(tmp_path / "clip.mp4", moving_square(20))
        done = predict_video(predictor, clip, tmp_path / "out/clip.mp4")
        assert done.num_frames == 20
        assert done.network_ms > 0
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.mp4"]
        source, before = read(clip)
        result, after = read(done.path)
        assert result.size == source.size == (48, 64)
        assert result.frame_rate == source.frame_rate == Fraction(30000, 1001)
        assert result.num_frames == 20
        assert [frame.time for frame in after] == [1001 * n for n in range(20)]
        assert [frame.duration for frame in after] == [frame.duration for frame in before]
        with av.open(str(done.path)) as container:
            assert container.streams.video[0].codec_context.name == "h264"

    def test_pictures_are_the_overlays(self, predictor, tmp_path):
        clip = write_clip(tmp_path / "clip.mp4", moving_square(3, 96, 128))
        predict_video(predictor, clip, tmp_path / "out.mp4")
        _, before = read(clip)
        _, after = read(tmp_path / "out.mp4")
        overlay = np.asarray(predictor(before[0].pixels).draw(scores=False), dtype=np.float64)
        # Halved chroma and compression blur edges; a wrong color matrix would shift the sky by 19.
        assert np.abs(overlay - after[0].pixels).mean() < 4
        assert np.abs(overlay - after[0].pixels)[60:90, 40:100].max() < 6

    @pytest.mark.parametrize("size", [(33, 47), (32, 47), (33, 48), (16, 16)])
    def test_odd_sizes(self, predictor, tmp_path, size):
        clip = write_clip(tmp_path / "clip.webm", moving_square(3, *size), codec="libvpx-vp9")
        predict_video(predictor, clip, tmp_path / "out.mp4")
        assert read(tmp_path / "out.mp4")[0].size == size

    def test_variable_frame_rate(self, predictor, tmp_path):
        times = [0, 1000, 3000, 9000, 9500, 20000, 40000]
        clip = write_clip(tmp_path / "clip.mp4", moving_square(7), times=times)
        predict_video(predictor, clip, tmp_path / "out.mp4")
        assert [frame.time for frame in read(tmp_path / "out.mp4")[1]] == times

    def test_first_frame_is_the_start(self, predictor, tmp_path):
        times = [9000, 10001, 11002]
        clip = write_clip(tmp_path / "clip.mkv", moving_square(3), times=times)
        predict_video(predictor, clip, tmp_path / "out.mp4")
        result, frames = read(tmp_path / "out.mp4")
        assert [frame.time * result.time_base * 1000 for frame in frames] == [0, 33, 67]

    @pytest.mark.parametrize("clockwise", [True, False])
    def test_turned_videos_come_out_upright(self, predictor, tmp_path, clockwise):
        clip = write_clip(tmp_path / "clip.mp4", moving_square(3), aspect=Fraction(4, 3))
        _, (stored, *_) = read(clip)
        turn(clip, clockwise=clockwise)
        reader, (shown, *_) = read(clip)
        assert reader.size == (64, 48)
        np.testing.assert_array_equal(shown.pixels, np.rot90(stored.pixels, -1 if clockwise else 1))
        predict_video(predictor, clip, tmp_path / "out.mp4")
        result, _ = read(tmp_path / "out.mp4")
        assert (result.size, result.pixel_aspect) == ((64, 48), Fraction(3, 4))

    def test_instances_keep_their_colors(self, predictor, tmp_path):
        """A second car appears left of the first, before which the network would count it."""
        frames = []
        for number in range(6):
            pixels = np.zeros((48, 96, 3), dtype=np.uint8)
            for left in [60 - number] if number < 3 else [8, 60 - number]:
                draw_square(pixels, 8, left, side=32)
            frames.append(pixels)
        clip = write_clip(tmp_path / "clip.mp4", frames)
        predict_video(predictor, clip, tmp_path / "out.mp4")
        _, after = read(tmp_path / "out.mp4")
        right = np.array([np.median(frame.pixels[12:36, 64:84], axis=(0, 1)) for frame in after])
        left = np.array([np.median(frame.pixels[12:36, 12:36], axis=(0, 1)) for frame in after[3:]])
        assert np.ptp(right, axis=0).max() < 6
        assert np.abs(left.mean(axis=0) - right.mean(axis=0)).max() > 15

    def test_memory_does_not_grow(self, tmp_path):
        """The peak after 1,000 more frames is that after 100, in a process of its own."""
        for name, count in (("short.mp4", 100), ("long.mp4", 1000)):
            write_clip(tmp_path / name, moving_square(count, 64, 80))
        code = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from axial_deeplab.prediction.video import predict_video
from video_files import red_square_predictor
predictor = red_square_predictor()
for name in ("short", "long"):
    predict_video(predictor, f"{tmp_path}/{{name}}.mp4", f"{tmp_path}/{{name}}_out.mp4")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        short, long = (int(line) for line in done.stdout.split())
        # 900 frames more are 14 MB of pixels, 18 MB of maps and 14 MB of overlays; ru_maxrss counts KiB.
        assert long - short < 6_000


class TestBrokenVideos:
    @pytest.fixture
    def clip(self, tmp_path):
        """Write 4 s whose index stands in front, so that the first part of the file can be played."""
        options = {"movflags": "+faststart"}
        return write_clip(tmp_path / "clip.mp4", moving_square(120), muxer_options=options)

    def test_truncated(self, predictor, clip, tmp_path):
        content = clip.read_bytes()
        clip.write_bytes(content[: len(content) * 6 // 10])
        with pytest.raises(
            DamagedVideoError,
            match=r"must be a whole video file, got .*clip\.mp4: .* after \d\.\d s.*out\.mp4 has the \d+ ",
        ):
            predict_video(predictor, clip, tmp_path / "out.mp4")
        assert 10 < len(read(tmp_path / "out.mp4")[1]) < 110

    def test_ends_too_soon_without_an_error_of_the_decoder(self, predictor, tmp_path):
        clip = write_clip(tmp_path / "clip.mkv", moving_square(120))
        content = clip.read_bytes()
        clip.write_bytes(content[: len(content) // 2])
        with pytest.raises(DamagedVideoError, match=r"its end after \d\.\d s, \d\.\d s too soon"):
            predict_video(predictor, clip, tmp_path / "out.mp4")
        assert len(read(tmp_path / "out.mp4")[1]) > 10

    @pytest.mark.parametrize("content", [b"", b"no video" * 50, "half"])
    def test_nothing_can_be_read(self, predictor, clip, tmp_path, content):
        if content == "half":  # the index is in the other half
            content = write_clip(clip, moving_square(120)).read_bytes()
            content = content[: len(content) // 2]
        clip.write_bytes(content)
        with pytest.raises(DamagedVideoError, match=r"got .*clip\.mp4: invalid data found"):
            predict_video(predictor, clip, tmp_path / "new/out.mp4")
        assert not (tmp_path / "new").exists()

    def test_no_such_file(self, predictor, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4"):
            predict_video(predictor, tmp_path / "nowhere.mp4", tmp_path / "out.mp4")

    def test_sound_only(self, predictor, tmp_path):
        with av.open(str(tmp_path / "sound.mp4"), "w") as container:
            stream = container.add_stream("aac", rate=44100)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 44100
            container.mux([*stream.encode(frame), *stream.encode(None)])
        with pytest.raises(DamagedVideoError, match="no picture in it"):
            predict_video(predictor, tmp_path / "sound.mp4", tmp_path / "out.mp4")

    def test_no_frame(self, predictor, tmp_path):
        with av.open(str(tmp_path / "clip.avi"), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            container.start_encoding()
        with pytest.raises(DamagedVideoError, match=r"clip\.avi: (no frame|no picture|invalid data)"):
            predict_video(predictor, tmp_path / "clip.avi", tmp_path / "out.mp4")

    def test_frames_of_two_sizes(self, predictor, tmp_path):
        """JPEG frames are whole pictures: those of two videos make one stream."""
        clip = tmp_path / "clip.mkv"
        with av.open(str(clip), "w") as target:
            stream = None
            for number, size in enumerate(((48, 64), (32, 32))):
                part = write_clip(tmp_path / f"{number}.mkv", moving_square(2, *size), codec="mjpeg")
                with av.open(str(part)) as source:
                    stream = stream or target.add_stream_from_template(source.streams.video[0])
                    for packet in source.demux(video=0):
                        if packet.size:
                            packet.pts = packet.dts = packet.pts + 1000 * number
                            packet.stream = stream
                            target.mux(packet)
        message = r"frames of 32 x 32 pixels \(width x height\) after 1\.0 s; .*out\.mp4 has the 2 frames"
        with pytest.raises(DamagedVideoError, match=message):
            predict_video(predictor, clip, tmp_path / "out.mp4")

    def test_full_disk(self, predictor, clip, tmp_path):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        try:
            with pytest.raises(OSError, match=r"File too large: .*out\.mp4"):
                predict_video(predictor, clip, tmp_path / "out.mp4")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]

    def test_encoders(self, predictor, clip, tmp_path, monkeypatch):
        codecs = {"libvpx-vp9"}
        monkeypatch.setattr("av.codec.codecs_available", codecs)
        predict_video(predictor, clip, tmp_path / "out.mp4")
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert container.streams.video[0].codec_context.name == "vp9"
        codecs.clear()
        message = r"must have an encoder for 64 x 48 pixels .*, got one without libx264 and libvpx-vp9"
        with pytest.raises(ValueError, match=message):
            predict_video(predictor, clip, tmp_path / "out.mp4")


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "in/sub").mkdir(parents=True)
        Image.fromarray(next(moving_square(1))).save(tmp_path / "in/1.png")
        for name in ("clip.mp4", "clip.mov", "sub/clip.MP4"):
            write_clip(tmp_path / "in" / name, moving_square(2))
        return tmp_path

    def test_images_and_videos(self, predictor, folder):
        report = predict_files(predictor, [folder / "in"], folder / "out")
        written = sorted(p.relative_to(folder / "out").as_posix() for p in (folder / "out").rglob("*.*"))
        assert written == [
            *("overlay/1.jpg", "overlay/clip.mp4", "overlay/clip.mp4.mp4", "overlay/sub/clip.mp4"),
            *("panoptic.json", "panoptic/1.png"),
        ]
        assert str(report).startswith("1 image, 3 videos of 6 frames, predictions in ")
        assert str(report).endswith("ms an image or frame")

    def test_one_video(self, predictor, folder):
        report = predict_files(predictor, [folder / "in/clip.mp4"], folder / "out")
        assert str(report).startswith("1 video of 2 frames, predictions in ")
        assert str(report).endswith("ms a frame")
        assert [path.name for path in (folder / "out").iterdir()] == ["overlay"]

    def test_broken_ones_do_not_stop_the_others(self, predictor, folder):
        (folder / "in/clip.mov").write_bytes(b"")
        message = (
            r"readable images or videos, got 1 of 4 that are not \(the others are written\): .*clip\.mov"
        )
        with pytest.raises(ValueError, match=message):
            predict_files(predictor, [folder / "in"], folder / "out")
        assert len(list((folder / "out/overlay").rglob("*.mp4"))) == 2

    def test_without_pyav_nothing_is_begun(self, predictor, folder, monkeypatch):
        monkeypatch.setattr("axial_deeplab.util.packages.find_spec", lambda name: None)
        message = r'need the package av, which is missing; pip install "axial-deeplab\[video\]"'
        with pytest.raises(ValueError, match=message):
            predict_files(predictor, [folder / "in"], folder / "out")
        assert not (folder / "out").exists()

    def test_command(self, folder, capsys):
        (folder / "in/clip.mov").write_bytes(b"")
        words = [
            "predict",
            folder / "in",
            "--weights",
            "axial_deeplab_nano_scenes",
            "--output",
            folder / "out",
        ]
        assert main([str(word) for word in words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert (
            "got 1 of 4 that are not (the others are written): video must be a whole video file, got" in error
        )
        assert (folder / "out/overlay/sub/clip.mp4").exists()


def test_the_network_of_these_tests_sees_the_squares(predictor):
    segments = predictor(next(moving_square(1))).segments_info
    assert sorted((segment["name"], segment["area"]) for segment in segments) == [
        ("car", 256),
        ("sky", 48 * 64 - 256),
    ]
