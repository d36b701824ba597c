//! Crashes and damage: what was acknowledged stays, what is torn is cut, what is flipped is not
//! served.
