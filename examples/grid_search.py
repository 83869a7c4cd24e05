"""scikit-learn with speech: cross-validation by speaker, a pipeline on embeddings, and grid searches.

The clips are synthetic speech, made at the first run, so the scores are not about people. To use
your own: a list of paths, and for each clip its label and its speaker.
"""

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import serlab
from serlab.sklearn import SpeechEmbedding, SpeechEmotionClassifier
from sklearn import set_config

# Groups reach both the splitter and the classifier, which then holds out speakers inside as well.
set_config(enable_metadata_routing=True)

clips = serlab.load_corpus("synthetic").clips
clips = clips[clips["speaker"].isin(sorted(set(clips["speaker"]))[:6])]
paths, labels, speakers = clips["path"], clips["label"], clips["speaker"]
by_speaker = GroupKFold(3)

# A recipe of serlab, tested on speakers that it has not heard.
scores = cross_val_score(
    SpeechEmotionClassifier("mfcc-svm"),
    paths,
    labels,
    params={"groups": speakers},
    cv=by_speaker,
    scoring="balanced_accuracy",
)
print(f"mfcc-svm: UAR {scores.mean():.2f} over {len(scores)} folds of speakers")

# Any setting of the recipe can be searched; for a network e.g. training__epochs.
search = GridSearchCV(SpeechEmotionClassifier("mfcc-svm"), {"model__C": [[0.25], [4.0]]}, cv=by_speaker)
search.fit(paths, labels, groups=speakers)
print(f"mfcc-svm: accuracy {search.best_score_:.2f} with {search.best_params_}")

# Your own classifier on embeddings. SpeechEmbedding also takes an encoder, e.g. "openai/whisper-base".
pipeline = make_pipeline(SpeechEmbedding("mfcc"), StandardScaler(), LogisticRegression(max_iter=1000))
search = GridSearchCV(pipeline, {"logisticregression__C": [0.01, 0.1]}, cv=by_speaker)
search.fit(paths, labels, groups=speakers)
print(f"logistic regression: accuracy {search.best_score_:.2f} with {search.best_params_}")
