"""From a JAX function of images to the bytes of an ONNX model, by jax2onnx.

The function is traced on one image, and everything in it that does not depend on the
image is computed once, here: random numbers become constants, loops are unrolled, and
what its result does not need is dropped. So the converter, which knows no random bits,
meets arithmetic alone. The batch is put around that by vmap.
"""

import logging

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

PACKAGES = "onnx onnxruntime onnx-ir equinox dm-pix"
REMEDY = (
    f"pip install {PACKAGES} && pip install --no-deps jax2onnx==0.17.1 (it asks for an "
    "older orbax-checkpoint than training, and runs without)"
)


def convert(function, size):
    """The ONNX model of images (b, h, w, 1) -> (b, h, w, 1), b any, as bytes.

    Raises ValueError where the converter is missing, or knows not all operations.
    """
    try:
        import jax2onnx
    except ImportError as error:
        raise ValueError(f"ONNX needs {error.name}: {REMEDY}") from None
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # a line for each node
    try:
        one = folded(function, jax.ShapeDtypeStruct((1, *size, 1), jnp.float32))
        model = jax2onnx.to_onnx(
            jax.vmap(lambda image: one(image[None])[0]), [("b", *size, 1)]
        )
    except jax.errors.ConcretizationTypeError as error:
        raise ValueError(
            "ONNX cannot hold a loop whose end depends on the image, as the ensemble "
            "'staple' has: choose another, or --output=FILE.stablehlo"
        ) from error
    except Exception as error:  # its lowerings raise what they like
        told = (str(error).splitlines() or ["no word"])[0]
        raise ValueError(
            f"jax2onnx cannot convert this network ({type(error).__name__}: {told}); "
            "take --output=FILE.stablehlo"
        ) from error
    return model.SerializeToString()


def folded(function, spec):
    """`function` of one array, with what does not depend on it computed now."""
    with jax.disable_jit():  # so that nothing hides in loops or calls
        closed = jax.make_jaxpr(function)(spec)
    jaxpr = closed.jaxpr
    known, early, late = set(jaxpr.constvars), [], []
    for equation in needed(jaxpr):
        if known.issuperset(variables(equation.invars)):
            known.update(equation.outvars)
            early.append(equation)
        else:
            late.append(equation)
    read = [v for equation in late for v in variables(equation.invars)]
    kept = [v for v in dict.fromkeys(read) if v in known]
    first = jaxpr.replace(
        constvars=[], invars=jaxpr.constvars, outvars=kept, eqns=early
    )
    values = jax.jit(core.jaxpr_as_fun(core.ClosedJaxpr(first, [])))(*closed.consts)
    second = jaxpr.replace(constvars=kept, eqns=late)
    rest = core.jaxpr_as_fun(core.ClosedJaxpr(second, [np.asarray(v) for v in values]))
    return lambda array: rest(array)[0]


def needed(jaxpr):
    """The equations on which the result depends, in their order."""
    wanted, kept = set(variables(jaxpr.outvars)), []
    for equation in reversed(jaxpr.eqns):
        if wanted.intersection(equation.outvars):
            wanted.update(variables(equation.invars))
            kept.append(equation)
    return kept[::-1]


def variables(atoms):
    """Those that are no literal numbers."""
    return [atom for atom in atoms if isinstance(atom, core.Var)]
