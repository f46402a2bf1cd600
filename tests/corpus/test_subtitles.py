import pytest

from videolights_hf.corpus import Cue, SubtitleError, merge_rolling, read_subtitles
from videolights_hf.corpus.subtitles import subtitle_vid

SRT = """1
00:00:01,500 --> 00:00:03,000
<i>Hello</i> &amp; welcome

2
00:01:00,000 --> 01:00:02,250 X1:40 Y1:10
{\\an8}<font color="#fff">Two</font>
lines
"""

VTT = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: red }

NOTE this is
no cue

intro
00:01.500 --> 00:03.000 align:start position:0%
<v Ann>Hello<00:00:02.000><c.yellow> there</c>

100:00:00.000 --> 100:00:01.000
late &lt;b&gt; &nbsp; text
"""


def read(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_subtitles(path)


def cues_of(tmp_path, name, text):
    (cues,) = read(tmp_path, name, text).values()
    return [(cue.start, cue.end, cue.text) for cue in cues]


class TestSubRip:
    def test_times_tags_and_entities(self, tmp_path):
        assert cues_of(tmp_path, "v.srt", SRT) == [(1.5, 3.0, "Hello & welcome"), (60.0, 3602.25, "Two lines")]

    @pytest.mark.parametrize("line_break", ["\r\n", "\r", "\n"])
    def test_any_line_break_and_a_byte_order_mark(self, tmp_path, line_break):
        text = b"\xef\xbb\xbf" + SRT.replace("\n", line_break).encode()
        assert cues_of(tmp_path, "v.srt", text) == cues_of(tmp_path, "plain.srt", SRT)

    def test_numbers_may_be_missing_and_hours_left_out(self, tmp_path):
        text = "00:01,5 --> 00:02.75\none\n\n\n\n00:03,000 --> 00:04,000\ntwo"
        assert cues_of(tmp_path, "v.srt", text) == [(1.5, 2.75, "one"), (3.0, 4.0, "two")]

    def test_cues_come_in_the_order_of_time(self, tmp_path):
        text = "00:03,000 --> 00:04,000\ntwo\n\n00:01,000 --> 00:02,000\none\n"
        assert [text for _, _, text in cues_of(tmp_path, "v.srt", text)] == ["one", "two"]

    def test_a_cue_without_words_has_no_text(self, tmp_path):
        text = "00:01,000 --> 00:02,000\n♪ <i>...</i> ♪\n\n00:03,000 --> 00:04,000\n"
        assert [text for _, _, text in cues_of(tmp_path, "v.srt", text)] == ["", ""]

    @pytest.mark.parametrize("number", ["{}\n", ""])
    def test_cues_without_empty_lines_between_them_stay_apart(self, tmp_path, number):
        lines = [
            f"{number.format(index + 1)}00:0{index},000 --> 00:0{index + 1},000\nline {index}" for index in range(3)
        ]
        assert cues_of(tmp_path, "v.srt", "\n".join(lines)) == [(i, i + 1, f"line {i}") for i in range(3)]

    def test_a_number_that_is_said_is_no_label(self, tmp_path):
        text = "00:01,0 --> 00:02,0\nhow many\n7\n00:03,0 --> 00:04,0\nso many\n"
        assert cues_of(tmp_path, "v.srt", text) == [(1, 2, "how many 7"), (3, 4, "so many")]

    def test_text_that_is_no_tag_stays(self, tmp_path):
        assert cues_of(tmp_path, "v.srt", "00:01,0 --> 00:02,0\n1 < 2 and 3 > 2\n") == [(1, 2, "1 < 2 and 3 > 2")]


class TestWebVtt:
    def test_header_notes_styles_names_settings_and_voices(self, tmp_path):
        assert cues_of(tmp_path, "v.vtt", VTT) == [
            (1.5, 3.0, "Hello there"),
            (360000.0, 360001.0, "late <b> text"),
        ]

    @pytest.mark.parametrize("header", ["WEBVTT", "WEBVTT\nKind: captions\nLanguage: en", "WEBVTT\t- made by hand"])
    def test_the_header_ends_where_the_first_times_are(self, tmp_path, header):
        text = f"{header}\n00:01.000 --> 00:02.000\nhello\n00:03.000 --> 00:04.000\nsecond line\n"
        assert cues_of(tmp_path, "v.vtt", text) == [(1.0, 2.0, "hello"), (3.0, 4.0, "second line")]

    def test_names_of_cues_are_no_text_without_empty_lines_either(self, tmp_path):
        text = "WEBVTT\n\nintro\n00:01.000 --> 00:02.000\nhello\noutro\n00:03.000 --> 00:04.000\nbye\n"
        assert cues_of(tmp_path, "v.vtt", text) == [(1.0, 2.0, "hello"), (3.0, 4.0, "bye")]

    def test_another_kind_of_file_is_refused(self, tmp_path):
        with pytest.raises(SubtitleError, match=r"v\.vtt:1: a WebVTT file begins with WEBVTT"):
            read(tmp_path, "v.vtt", SRT)


class TestJsonLines:
    def test_end_or_duration_and_a_vid_on_each_line(self, tmp_path):
        text = (
            '{"vid": "b", "text": "  one\\n two ", "start": 1, "end": 2.5}\n\n'
            '{"vid": "a", "text": "three", "start": 4, "duration": 1.5}\n'
        )
        found = read(tmp_path, "all.jsonl", text)
        assert found == {"b": [Cue(1, 2.5, ("one two",))], "a": [Cue(4, 5.5, ("three",))]}

    def test_without_vids_the_file_names_the_video(self, tmp_path):
        assert list(read(tmp_path, "xyz.jsonl", '{"text": "one", "start": 1, "end": 2}')) == ["xyz"]

    @pytest.mark.parametrize(
        ("line", "fault"),
        [
            ("{", "not JSON"),
            ("[]", "expected a JSON object, found list"),
            ("[" * 100_000, "nested too deeply"),
            ('{"start": 1, "end": 2}', "'text' is missing"),
            ('{"text": "a", "end": 2}', "'start' must be a number"),
            ('{"text": "a", "start": 1}', "'duration' must be a number"),
            ('{"text": "a", "start": true, "end": 2}', "'start' must be a number"),
            ('{"text": "a", "start": 1, "end": 2, "vid": 3}', "'vid' must be a non-empty string"),
            ('{"text": "a", "start": 3, "end": 2}', r"ends \(2 s\) before it starts \(3 s\)"),
            ('{"text": "a", "start": -1, "end": 2}', "before it starts"),
            ('{"text": "a", "start": NaN, "end": 2}', "'start' must be a number"),
            (f'{{"text": "a", "start": 1{"0" * 400}, "end": 2}}', "'start' must be a number"),
        ],
    )
    def test_faults_are_named_with_their_line(self, tmp_path, line, fault):
        with pytest.raises(SubtitleError, match=rf"v\.jsonl:3: .*{fault}"):
            read(tmp_path, "v.jsonl", '\n{"text": "a", "start": 1, "end": 2}\n' + line)


class TestFaults:
    def test_every_one_is_named_with_file_and_line(self, tmp_path):
        text = "1\n00:00:01,000 -> 00:00:02,000\none\n\n2\n00:00:05,000 --> 00:00:04,000\ntwo\n\nstray\n"
        with pytest.raises(SubtitleError) as caught:
            read(tmp_path, "v.srt", text)
        first, second, third = caught.value.problems
        assert first.startswith(f"{tmp_path / 'v.srt'}:1: '1' belongs to no cue")
        assert "v.srt:6: it ends (4 s) before it starts (5 s)" in second + third
        assert any("v.srt:9: 'stray' belongs to no cue" in problem for problem in (second, third))

    def test_damaged_times_within_a_cue_are_named(self, tmp_path):
        text = "00:01,000 --> 00:02,000\none\n00:61:00,000 --> 00:62:00,000\ntwo\n" + "9" * 400 + ":00:00,000 --> 1\n"
        with pytest.raises(SubtitleError) as caught:
            read(tmp_path, "v.srt", text)
        assert [problem.split(": ")[0][-7:] for problem in caught.value.problems] == ["v.srt:3", "v.srt:5"]

    @pytest.mark.parametrize(("name", "text"), [("v.srt", ""), ("v.vtt", "WEBVTT\n\n"), ("v.jsonl", "\n\n")])
    def test_a_file_without_cues(self, tmp_path, name, text):
        with pytest.raises(SubtitleError, match="no cues"):
            read(tmp_path, name, text)

    def test_another_encoding_is_named_with_its_line(self, tmp_path):
        with pytest.raises(SubtitleError, match=r"v\.srt:3: not UTF-8"):
            read(tmp_path, "v.srt", "1\n00:00:01,000 --> 00:00:02,000\ncaf\u00e9\n".encode("latin-1"))

    def test_another_ending(self, tmp_path):
        with pytest.raises(ValueError, match=r"its extension must be \.srt, \.vtt, \.jsonl"):
            read(tmp_path, "v.txt", "a")


class TestRollingCaptions:
    def test_each_line_comes_once_and_lasts_until_it_scrolls_up(self):
        cues = [
            Cue(0.0, 2.0, ("hello world",)),
            Cue(2.0, 2.01, ("hello world",)),
            Cue(2.01, 4.0, ("hello world", "this is new")),
            Cue(4.0, 4.01, ("this is new",)),
            Cue(4.01, 6.0, ("this is new", "and more")),
        ]
        assert merge_rolling(cues) == [
            Cue(0.0, 2.01, ("hello world",)),
            Cue(2.01, 4.01, ("this is new",)),
            Cue(4.01, 6.0, ("and more",)),
        ]

    def test_a_growing_line_is_one(self):
        cues = [Cue(0, 1, ("we",)), Cue(1, 2, ("we go",)), Cue(2, 3, ("we go home",)), Cue(3, 4, ("wet",))]
        assert merge_rolling(cues) == [Cue(0, 3, ("we go home",)), Cue(3, 4, ("wet",))]

    def test_the_same_words_later_are_another_utterance(self):
        cues = [Cue(0, 1, ("Yes.",)), Cue(5, 6, ("Yes.",))]
        assert merge_rolling(cues) == cues

    def test_cues_that_share_nothing_stay_as_they_are(self):
        cues = [Cue(0, 1, ("one", "two")), Cue(1, 2, ("three",))]
        assert merge_rolling(cues) == cues

    def test_cues_without_words_are_dropped(self):
        assert merge_rolling([Cue(0, 1, ()), Cue(1, 2, ("a",)), Cue(2, 3, ())]) == [Cue(1, 2, ("a",))]


@pytest.mark.parametrize(
    ("name", "vid"),
    [
        ("a-b_c.srt", "a-b_c"),
        ("abc.en.vtt", "abc"),
        ("abc.en-US.vtt", "abc"),
        ("j7rJstUseKg_360.0_510.0.srt", "j7rJstUseKg_360.0_510.0"),
        ("abc.EN.srt", "abc"),
        ("abc.en_US.srt", "abc"),
        ("abc.english.srt", "abc"),
        ("abc.en.forced.srt", "abc"),
        ("abc.mp4.en.srt", "abc"),
        ("trip.day.srt", "trip.day"),
        ("my.movie.file.srt", "my.movie.file"),
        ("song.v2.srt", "song.v2"),
        (".en.srt", ".en"),
    ],
)
def test_the_video_is_the_name_without_extension_and_language(name, vid):
    assert subtitle_vid(name) == vid


def test_the_longest_name_of_a_video_wins():
    assert subtitle_vid("trip.no.en.srt", ["trip", "trip.no"]) == "trip.no"
    assert subtitle_vid("trip.no.en.srt", ["trip"]) == "trip"
