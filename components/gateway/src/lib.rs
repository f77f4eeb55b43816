//! Spin root component: health and a sample through the four stages
