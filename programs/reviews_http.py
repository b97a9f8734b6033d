"""Open reviews over HTTP, in AG-UI's or LangChain's shape, over the folder of a `FileReviewer`.

`python -m programs.reviews_http FOLDER` serves it on 127.0.0.1:8000; put a log-in before it on any other address.
`GET /reviews/ag_ui` gives what is open, by the ids of the reviews, and `POST /reviews/ag_ui/ID` answers one; so for
`/reviews/langchain`. The run goes on by `refiner.resume()`, in whatever process.
"""

import argparse
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI, HTTPException

from pivot_dspy import ConfigurationError
from pivot_dspy.human import FileReviewer, OpenReview
from pivot_dspy.human.shapes import ag_ui, langchain

Shape = Literal["ag_ui", "langchain"]
FEEDBACK = {"ag_ui": ag_ui.feedback, "langchain": langchain.feedback}


def request(shape: Shape, waiting: OpenReview) -> dict[str, Any]:
    if shape == "ag_ui":
        return ag_ui.request(waiting.review, expires=waiting.expires)
    return langchain.request(waiting.review)


def reviews_app(folder: str) -> FastAPI:
    inbox, app = FileReviewer(folder), FastAPI()

    @app.get("/reviews/{shape}")
    def listed(shape: Shape) -> dict[str, Any]:
        return {waiting.review.id: request(shape, waiting) for waiting in inbox.reviews()}

    @app.post("/reviews/{shape}/{review_id}")
    def answer(shape: Shape, review_id: str, body: Annotated[Any, Body()]) -> dict[str, Any]:
        waiting = {waiting.review.id: waiting.review for waiting in inbox.reviews()}
        if review_id not in waiting:
            raise HTTPException(404, f"no review {review_id} waits for an answer")
        try:
            return inbox.answer(review_id, FEEDBACK[shape](body, waiting[review_id])).model_dump(mode="json")
        except ConfigurationError as error:  # nothing is saved then, and the review can be answered still
            raise HTTPException(422, str(error)) from error

    return app


if __name__ == "__main__":
    import uvicorn

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="where the reviews are")
    uvicorn.run(reviews_app(parser.parse_args().folder))
