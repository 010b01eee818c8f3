"""A linear metric learner in a scikit-learn pipeline, its neighbours chosen by cross-validation.

Run: python examples/scikit_learn.py
"""

from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from likewise.linear import LMNN, NCA, Covariance


def main() -> None:
    X, y = load_wine(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    pipeline = make_pipeline(StandardScaler(), LMNN(), KNeighborsClassifier(3))
    learners = [LMNN(n_neighbors=3), NCA(random_state=0), Covariance()]
    search = GridSearchCV(pipeline, {"lmnn": learners, "kneighborsclassifier__n_neighbors": [1, 3, 5]}, cv=3)
    search.fit(X_train, y_train)
    chosen = search.best_params_
    print(f"chosen: {chosen['lmnn']}, {chosen['kneighborsclassifier__n_neighbors']} neighbours")
    plain = make_pipeline(StandardScaler(), KNeighborsClassifier(3)).fit(X_train, y_train)
    print(f"accuracy on the other half: {search.score(X_test, y_test):.3f}")
    print(f"without learning: {plain.score(X_test, y_test):.3f}")


if __name__ == "__main__":
    main()
