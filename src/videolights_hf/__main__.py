"""`python -m videolights_hf`: the command line."""

from videolights_hf.cli.main import app

if __name__ == "__main__":
    app(prog_name="python -m videolights_hf")
