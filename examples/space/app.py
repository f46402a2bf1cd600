"""A Space of the app: upload this folder to a Space whose SDK is Gradio."""

from videolights_hf.app import BUNDLED, ZERO_SHOT, AppSettings, Detector, launch_app
from videolights_hf.deploy import load_pipeline

# A Hub id, for instance of a model that `videolights push` uploaded; without one the zero-shot detector answers.
MODEL = None

detector = Detector(MODEL, lambda: load_pipeline(MODEL)) if MODEL else ZERO_SHOT

if __name__ == "__main__":
    launch_app(AppSettings(max_megabytes=200, max_minutes=20), (detector, BUNDLED))
