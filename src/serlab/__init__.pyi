from serlab.core import SerlabError as SerlabError
from serlab.corpora import load_corpus as load_corpus
from serlab.evaluation.judge import evaluate as evaluate
from serlab.experiments.compare import Comparison as Comparison
from serlab.experiments.compare import compare as compare
from serlab.experiments.crossing import Crossing as Crossing
from serlab.experiments.crossing import compare_across as compare_across
from serlab.experiments.exploring import Exploration as Exploration
from serlab.experiments.exploring import explore as explore
from serlab.experiments.train import train as train
from serlab.inference.files import predict as predict
from serlab.leaks import audit as audit
from serlab.model.model import Model as Model
from serlab.model.model import load_model as load_model
from serlab.model.prediction import Prediction as Prediction
from serlab.model.prediction import to_frame as to_frame
from serlab.protocols import split as split
from serlab.recipes import load_recipe as load_recipe
from serlab.report import build as build_report

__version__: str
__all__ = [
    "Comparison",
    "Crossing",
    "Exploration",
    "Model",
    "Prediction",
    "SerlabError",
    "__version__",
    "audit",
    "build_report",
    "compare",
    "compare_across",
    "evaluate",
    "explore",
    "load_corpus",
    "load_model",
    "load_recipe",
    "predict",
    "split",
    "to_frame",
    "train",
]
