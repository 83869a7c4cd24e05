"""scikit-learn estimators: a classifier of speech, and a transformer from speech to a matrix.

Both take a list of paths, a list of arrays, a matrix with one clip per row, or a column of a
DataFrame.
"""

from serlab.sklearn.classifier import GroupsWarning, SpeechEmotionClassifier
from serlab.sklearn.embedding import SpeechEmbedding
from serlab.sklearn.inputs import InputError

__all__ = ["GroupsWarning", "InputError", "SpeechEmbedding", "SpeechEmotionClassifier"]
