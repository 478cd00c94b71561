from lightning.pytorch.cli import LightningCLI

from shapes_data import ShapesData
from shapes_model import ShapesModel


class MyCLI(LightningCLI):
    def add_arguments_to_parser(self, parser):
        parser.link_arguments("data.features", "model.features")


if __name__ == "__main__":
    MyCLI(ShapesModel, ShapesData)
