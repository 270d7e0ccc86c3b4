"""Executes the notebook of an exported kernel, and checks that there are records and pictures in it."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

folder = Path(sys.argv[1]).resolve()
(path,) = (folder / "kernel").glob("*.ipynb")
notebook = nbformat.read(path, 4)
nbformat.validate(notebook)
NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder / "working")}}).execute()
pictures = [
    output for cell in notebook.cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})
]
records = list((folder / "working" / "results").rglob("*.json"))
print(f"{path.stem}: {len(records)} records, {len(pictures)} pictures", flush=True)
if not records or not pictures:
    raise SystemExit("a kernel must leave a record and show a picture")
