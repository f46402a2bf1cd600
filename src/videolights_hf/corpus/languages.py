"""What the name of a subtitle file may have between the name of its video and its extension."""

from __future__ import annotations

# ISO 639-1 codes; ISO 639-2 codes and English names of the languages most often subtitled; marks of players.
SUBTITLE_SUFFIXES = tuple(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo
    es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg
    ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn
    no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta
    te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    ara ben bul cat ces chi cze dan deu dut ell eng est fas fin fra fre ger gre heb hin hrv hun ind ita jpn kor lav lit
    may msa nld nor per pol por ron rum rus slk slo slv spa srp swe tam tel tha tur ukr urd vie zho
    arabic chinese czech danish dutch english finnish french german greek hebrew hindi hungarian indonesian italian
    japanese korean norwegian polish portuguese romanian russian spanish swedish thai turkish ukrainian vietnamese
    auto cc default forced orig sdh
    """.split()  # noqa: SIM905
)
