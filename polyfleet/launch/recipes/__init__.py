"""How a build is started on its chip: image, command, devices, environment, limits, each with its source.

Facts stand in the catalog's tables (`images.csv` how, `recipes.csv` whether); here they are filled in for one build.
Nothing is started here, and nothing is asked of anybody.
"""

from polyfleet.launch.recipes.choose import choose_build
from polyfleet.launch.recipes.fill import Ask, fill_recipe
from polyfleet.launch.recipes.recipe import LaunchRecipe

__all__ = ["Ask", "LaunchRecipe", "choose_build", "fill_recipe"]
