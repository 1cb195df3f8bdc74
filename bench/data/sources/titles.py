"""Words of made-up titles such as `Silent Harbor: Racing 2`, separated by blanks."""

from __future__ import annotations

ADJECTIVES = (
    "Amber Ancient Arctic Bitter Blazing Broken Burning Clever Cosmic Crimson Crystal Curious "
    "Daring Distant Eternal Fallen Fearless Final Forgotten Frozen Gentle Ghostly Gilded Golden "
    "Hidden Hollow Humble Iron Jade Lonely Lost Lucky Mighty Misty Noble Painted Phantom Quiet "
    "Rapid Restless Royal Rusty Sacred Savage Secret Shattered Silent Silver Sleepy Stolen Stormy "
    "Sunken Swift Tangled Tiny Twisted Velvet Wandering Wicked Wild"
)

NOUNS = (
    "Anchor Arena Bastion Beacon Bridge Canyon Caravan Carnival Castle Cavern Circuit Citadel "
    "Comet Compass Convoy Crown Desert Dragon Dynasty Empire Engine Expedition Falcon Fjord Forest "
    "Fortress Galaxy Garden Glacier Harbor Harvest Horizon Island Jungle Kingdom Labyrinth Lagoon "
    "Lantern Legacy Lighthouse Market Meadow Mirror Monastery Mountain Oasis Observatory Orchard "
    "Orchestra Palace Pirate Planet Railway Reef River Stadium Temple Throne Tower Valley"
)

KINDS = (
    "Adventure Arcade Baking Battle Builder Cards Chess Climbing Cooking Dance Detective Farming "
    "Fishing Flight Football Golf Hockey Karaoke Logic Management Mystery Pinball Platform Puzzle "
    "Quiz Racing Rally Rhythm Sailing Shooter Simulation Skating Stealth Strategy Survival Tactics "
    "Tennis Trading Trivia Wrestling"
)
