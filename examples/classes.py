"""A class: state that is made once in each container, parameters, and a last word when the container ends.

    windlass run examples/classes.py
    windlass run examples/classes.py::Counter.count --text "to be or not to be" --letters bo
"""
import collections
import time

import modal

app = modal.App("example-classes")


@app.cls(scaledown_window=2)
class Counter:
    letters: str = modal.parameter(default="aeiou")  # each set of values has containers of its own

    @modal.enter()
    def prepare(self):
        time.sleep(0.2)  # what is costly, such as reading a model, is done once
        self.wanted = set(self.letters)
        self.total = collections.Counter()

    @modal.method()
    def count(self, text: str) -> int:
        found = [letter for letter in text.lower() if letter in self.wanted]
        self.total.update(found)
        return len(found)

    @modal.method()
    def most(self) -> str:
        return self.total.most_common(1)[0][0]

    @modal.exit()
    def leave(self):
        print(f"{self.letters}: {sum(self.total.values())} letters in the life of this container")


@app.local_entrypoint()
def main():
    vowels, others = Counter(), Counter(letters="rst")
    text = "the ship turned the windlass and the anchor rose"
    print("vowels:", vowels.count.remote(text), "r, s and t:", others.count.remote(text))
    print("most often:", vowels.most.remote(), "and", others.most.remote())
    print("in this process:", Counter(letters="w").count.local(text))
