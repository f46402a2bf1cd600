from .annotations import ANNOTATIONS_FILE, CLIP_SECONDS, annotate, grade_clip, make_world
from .bundled import demo_checkpoint, demo_videos
from .rendering import FRAME_SIZE, FRAMES_PER_SECOND, render_frame, render_scene_frame, render_video
from .scenes import MAX_RADIUS, MIN_RADIUS, SPLITS, Scene, VideoPlan, draw_scene, moments_of, plan_video
from .vocabulary import BACKGROUNDS, COLORS, SHAPES, Query, SceneKind, all_kinds

__all__ = [
    "ANNOTATIONS_FILE",
    "BACKGROUNDS",
    "CLIP_SECONDS",
    "COLORS",
    "FRAMES_PER_SECOND",
    "FRAME_SIZE",
    "MAX_RADIUS",
    "MIN_RADIUS",
    "SHAPES",
    "SPLITS",
    "Query",
    "Scene",
    "SceneKind",
    "VideoPlan",
    "all_kinds",
    "annotate",
    "demo_checkpoint",
    "demo_videos",
    "draw_scene",
    "grade_clip",
    "make_world",
    "moments_of",
    "plan_video",
    "render_frame",
    "render_scene_frame",
    "render_video",
]
