"""The examples and the notebook run, and show what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def run(repository: Path, name: str, folder: Path, *arguments: str) -> str:
    """What an example prints."""
    script = repository / "examples" / name
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=alone(folder), timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alone(folder: Path) -> dict[str, str]:
    """The environment, without a configuration of the user's."""
    return {**os.environ, "KUBECONFIG": str(folder / "none"), "MPLCONFIGDIR": str(folder)}


def needs(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def test_an_operator_is_tested(repository: Path, tmp_path: Path) -> None:
    needs("kubernetes")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*command, str(repository / "examples" / "test_an_operator.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=alone(tmp_path),
        timeout=300,
    )
    assert done.returncode == 0 and "5 passed" in done.stdout, done.stdout + done.stderr


def test_capacity_is_planned(repository: Path, tmp_path: Path) -> None:
    needs("tqdm")
    said = run(repository, "plan_capacity.py", tmp_path, "--quiet")
    rows = {row[0]: row.groups() for row in re.finditer(r"^(\S.*?)  +(\d+) +(\d+) +(\d+) +(\d+)", said, re.MULTILINE)}
    by_plan = {name: tuple(map(int, rest)) for name, *rest in rows.values()}
    assert set(by_plan) == {"nothing", "4 small", "2 large", "4 of memory"}
    # 21 pods today, twice as many tomorrow, whatever is bought.
    assert all(running + waiting == 42 for _, running, waiting, _ in by_plan.values())
    assert by_plan["nothing"][2] > 0 and by_plan["2 large"][2] == 0
    assert "The cheapest that is enough:" in said


def test_an_outage_is_plotted_and_the_same_seed_has_the_same(repository: Path, tmp_path: Path) -> None:
    needs("matplotlib", "tqdm")
    said = run(repository, "outage.py", tmp_path, "--quiet", "--seed", "3")
    lost = {name: float(minutes) for name, minutes in re.findall(r"^(\w+) .*, +([\d.]+) minutes", said, re.MULTILINE)}
    assert lost["usual"] > 2 * lost["impatient"] > 0
    assert (tmp_path / "outage.png").read_bytes().startswith(b"\x89PNG")
    assert run(repository, "outage.py", tmp_path, "--quiet", "--seed", "3") == said


def test_a_scheduler_is_extended(repository: Path, tmp_path: Path) -> None:
    said = run(repository, "custom_scheduler.py", tmp_path)
    usual, green = (int(grams) for grams in re.findall(r"^(?:as usual|with the score) +(\d+)", said, re.MULTILINE))
    assert green < usual / 2
    assert "the node is kept for interactive work" in said


def test_a_kopf_operator_works(repository: Path, tmp_path: Path) -> None:
    needs("kopf")
    said = run(repository, "kopf_operator.py", tmp_path)
    assert said.splitlines() == ["team-a has <Secret team-a/pull>", "team-b has <Secret team-b/pull>", "and has it no more"]


def test_the_notebook_runs_from_top_to_bottom(repository: Path, tmp_path: Path) -> None:
    needs("tqdm")
    notebook = json.loads((repository / "examples" / "windlass.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    program = tmp_path / "notebook.py"
    program.write_text("\n\n".join(cells))
    done = subprocess.run([sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"step \d at", done.stdout) == ["step 0 at", "step 1 at", "step 2 at"]
    # What it is published with is what it says.
    assert all(cell["outputs"] for cell in notebook["cells"][:-1] if cell["cell_type"] == "code")
